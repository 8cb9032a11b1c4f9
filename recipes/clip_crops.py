"""Crops of critters and the texts that are true of them: the data of the tiny CLIP."""

from __future__ import annotations

import cv2
import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from recipes.clip_texts import Facts, describe
from recipes.sam_prompts import varied_scene
from slip.data.critters import Scene, SceneObject
from slip.masks import segment_of
from slip.options import View
from slip.pipeline.crops import crop_views
from slip.types import Image, Mask

CROPS = 12
CONTEXT = 32
VIEWS: tuple[View, ...] = ("black", "letterbox-black", "blur")
_KINDS = ("critter", "part", "thing", "ground", "fragment")
_SHARES = (0.58, 0.18, 0.1, 0.05, 0.09)


class SceneCrops(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """Item ``i``: twelve crops of one scene in random views, and a text for each.

    crops: ``uint8 (12, 3, S, S)``. facts: ``int16 (12, F)``, what is true of each crop.
    tokens: ``int64 (12, 32)``. claims: ``int16 (12, F)``, what each text says; -1 is not said.
    """

    def __init__(self, seed: int, size: int) -> None:
        self.seed = seed
        self.size = size
        self.tokenizer = open_clip.SimpleTokenizer(context_length=CONTEXT)

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng((self.seed, index))
        scene = varied_scene(rng)
        crops: list[NDArray[np.uint8]] = []
        facts, texts, claims = [], [], []
        while len(crops) < CROPS:
            mask, truth = subject(scene, rng)
            crop = _crop(scene.image, mask, self.size, rng)
            if crop is None:
                continue
            text, claim = describe(truth, rng)
            crops.append(crop.transpose(2, 0, 1))
            facts.append(truth.codes())
            texts.append(text)
            claims.append(claim)
        return (
            torch.from_numpy(np.stack(crops)),
            torch.tensor(facts, dtype=torch.int16),
            self.tokenizer(texts),
            torch.tensor(claims, dtype=torch.int16),
        )


def subject(scene: Scene, rng: np.random.Generator) -> tuple[Mask, Facts]:
    """A region of the scene as a proposer might return it, and what it shows."""
    kind = str(rng.choice(_KINDS, p=_SHARES))
    critters = scene.critters
    things = [thing for thing in scene.things if thing.species is None]
    if kind == "ground" or (kind == "thing" and not things) or not critters:
        return scene.objects == 0, Facts("ground")
    if kind == "thing":
        thing = things[int(rng.integers(len(things)))]
        _, colour, name = thing.caption.split(" ")
        return _shaken(scene.mask(thing), rng), Facts(name, colour=colour)
    critter = critters[int(rng.integers(len(critters)))]
    if kind == "fragment":
        return _fragment(scene, critter, rng), Facts("fragment")
    parts = scene.part_masks(critter)
    if kind == "part":
        part = str(rng.choice(list(parts)))
        return _shaken(parts[part], rng), Facts.of(critter.species, part)
    whole = scene.mask(critter)
    if rng.random() < 0.15:
        lesser = whole & ~parts[str(rng.choice(list(parts)))]
        whole = lesser if lesser.sum() > 0.75 * whole.sum() else whole
    return _shaken(whole, rng), Facts.of(critter.species)


def _fragment(scene: Scene, critter: SceneObject, rng: np.random.Generator) -> Mask:
    """Less than half of a critter, or the critter with much that is not its own."""
    whole = scene.mask(critter)
    ys, xs = np.nonzero(whole)
    along = rng.normal(size=2)
    reach = along[0] * ys + along[1] * xs
    if rng.random() < 0.5:
        cut = np.zeros_like(whole)
        near = reach < np.quantile(reach, rng.uniform(0.15, 0.45))
        cut[ys[near], xs[near]] = True
        return cut
    others = [thing for thing in scene.things if thing is not critter]
    if others:
        return np.asarray(whole | scene.mask(others[int(rng.integers(len(others)))]))
    x, y, width, height = cv2.boundingRect(whole.astype(np.uint8))
    tall, wide = height // 2, width // 2
    merged = np.zeros_like(whole)
    merged[max(0, y - tall) : y + height + tall, max(0, x - wide) : x + width + wide] = True
    return merged


def _shaken(mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask with the small errors of a mask model: edges moved, corners rounded."""
    pixels = mask.astype(np.uint8)
    if rng.random() < 0.6:
        blurred = cv2.GaussianBlur(pixels * 255, (0, 0), rng.uniform(0.6, 1.8))
        pixels = (blurred > rng.uniform(80, 175)).astype(np.uint8)
    return pixels.astype(bool) if pixels.any() else mask


def _crop(image: Image, mask: Mask, size: int, rng: np.random.Generator) -> NDArray[np.uint8] | None:
    segment = segment_of(mask)
    if segment is None or segment.area < 12:
        return None
    view = VIEWS[int(rng.integers(len(VIEWS)))]
    return np.asarray(crop_views(image, [segment], view, size)[0])
