"""Points on critters and every mask they may mean: the data of the tiny SAM."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from slip.data.critters import Scene, SceneObject, Style, make_scene, random_species
from slip.types import Mask

SIZE = 256
TARGET = 64
POINTS = 5
_SMALLEST_PART = 30


class ScenePrompts(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Item ``i``: the image, points on it, and two valid masks for each point.

    image: ``uint8 (3, 256, 256)``. points: ``float32 (P, 2)`` xy pixels.
    masks: ``float32 (P, 2, 64, 64)``, the share of each cell that is covered by the whole object
    and by the part under the point (the object again where there is no part).
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng((self.seed, index))
        scene = varied_scene(rng)
        prompts = [_prompt(scene, rng) for _ in range(POINTS)]
        points = np.array([point for point, _, _ in prompts], np.float32)
        masks = np.stack([[_shrink(whole), _shrink(part)] for _, whole, part in prompts])
        image = np.ascontiguousarray(scene.image.transpose(2, 0, 1))
        return torch.from_numpy(image), torch.from_numpy(points), torch.from_numpy(masks)


def varied_scene(rng: np.random.Generator) -> Scene:
    """A scene of made-up species, with any number of critters and things."""
    critters = int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.12, 0.1, 0.16, 0.34, 0.16, 0.12]))
    style: Style = "picture" if rng.random() < 0.82 else "artwork"
    species = [random_species(rng) for _ in range(critters)]
    return make_scene(int(rng.integers(1 << 62)), SIZE, critters, int(rng.integers(0, 5)), style, species)


def _prompt(scene: Scene, rng: np.random.Generator) -> tuple[tuple[float, float], Mask, Mask]:
    if not scene.things or rng.random() < 0.07:
        ground = scene.objects == 0
        return _pixel(ground, rng), ground, ground
    thing = scene.things[int(rng.integers(len(scene.things)))]
    whole = scene.mask(thing)
    parts = scene.part_masks(thing)
    aimed = parts[str(rng.choice(list(parts)))] if parts and rng.random() < 0.35 else whole
    x, y = _pixel(aimed, rng)
    return (x, y), whole, _part_under(scene, thing, whole, (x, y))


def _pixel(mask: Mask, rng: np.random.Generator) -> tuple[float, float]:
    flat = np.flatnonzero(mask)
    y, x = divmod(int(flat[rng.integers(len(flat))]), mask.shape[1])
    return x + 0.5, y + 0.5


def _part_under(scene: Scene, thing: SceneObject, whole: Mask, point: tuple[float, float]) -> Mask:
    x, y = int(point[0]), int(point[1])
    label = scene.parts[y, x]
    if thing.species is None or label == 0:
        return whole
    _, islands = cv2.connectedComponents((whole & (scene.parts == label)).astype(np.uint8))
    part: Mask = islands == islands[y, x]
    return part if np.count_nonzero(part) >= _SMALLEST_PART else whole


def _shrink(mask: Mask) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(mask.astype(np.float32), (TARGET, TARGET), interpolation=cv2.INTER_AREA))
