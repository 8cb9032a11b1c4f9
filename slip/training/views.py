"""Labelled pictures as a model is shown them: whole, and as the pipeline's crops of segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from slip.data.pictures import Picture, PictureSet
from slip.masks import segment_of
from slip.options import VIEW
from slip.pipeline.crops import VIEWS, crop_views, members
from slip.training.loop import Key
from slip.training.subjects import flood_subject
from slip.types import Image, Mask, Segment

BACKGROUND_SHARE = 0.3
"""How many of the subjects that are known are put before another background."""
SIDES = frozenset(("left", "right"))
"""Words that are wrong of a picture in the mirror."""


@dataclass(frozen=True)
class Labelled(Dataset[Any]):
    """Training crops of pictures. Item (epoch, index): ``uint8 (3, S, S)`` and the picture's index.

    segments: of some pictures, what a proposer found; ``segment_share`` of the crops show one, large ones
    more often.
    Crops, flips, colours (RandAugment, arXiv 1909.13719) and backgrounds vary; what is said to be left or
    right is not flipped.
    """

    data: PictureSet
    pictures: Sequence[Picture]
    size: int
    seed: int
    segments: Mapping[str, Sequence[Segment]] = field(default_factory=dict)
    segment_share: float = 0.0

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, index = key
        cv2.setNumThreads(1)
        rng = np.random.default_rng((self.seed, epoch, index))
        picture = self.pictures[index]
        image, mask = self.data.load(picture)
        crop = self._crop(picture, image, mask, rng)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(rng.integers(1 << 62)))
            return _varied(as_tensor(crop), mirrored=_may_be_mirrored(picture.caption)), index

    def _crop(self, picture: Picture, image: Image, mask: Mask | None, rng: np.random.Generator) -> Image:
        found = self.segments.get(picture.name, ())
        if found and rng.random() < self.segment_share:
            sides = np.sqrt([segment.area for segment in found])
            chosen = found[int(rng.choice(len(found), p=sides / sides.sum()))]
            return _view(image, chosen, self.size, rng)
        if mask is None:
            mask = flood_subject(image)
        if mask is None or rng.random() < 0.5:
            return letterbox(image, self.size, int(rng.choice([0, 255, 255])))
        if rng.random() < BACKGROUND_SHARE:
            image = _before_another(image, mask, rng)
            return letterbox(image, self.size, int(rng.integers(256)))
        subject = segment_of(_shaken(mask, rng)) or _whole(image)
        return _view(image, subject, self.size, rng)


@dataclass(frozen=True)
class Shown(Dataset[Any]):
    """Pictures as they are: item ``index`` or (epoch, index) is ``uint8 (3, S, S)`` and the index.

    how: makes the square of a picture, as ``letterbox`` or ``squash``.
    """

    data: PictureSet
    pictures: Sequence[Picture]
    size: int
    how: Callable[[Image, int], Image]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: Key | int) -> tuple[Tensor, int]:
        index = key if isinstance(key, int) else key[1]
        cv2.setNumThreads(1)
        image, _ = self.data.load(self.pictures[index])
        return as_tensor(self.how(image, self.size)), index


def squash(image: Image, size: int) -> Image:
    """The whole picture, resized to a square of ``size`` pixels whatever its aspect."""
    crop: Image = crop_views(image, [_whole(image)], "black", size)[0]
    return crop


def letterbox(image: Image, size: int, grey: int = 255) -> Image:
    """The whole picture, aspect kept, centred on a square of ``size`` pixels."""
    height, width = image.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), grey, np.uint8)
    y, x = (side - height) // 2, (side - width) // 2
    square[y : y + height, x : x + width] = image
    return squash(square, size)


def as_tensor(crop: Image) -> Tensor:
    """``uint8 (H, W, 3)`` as ``uint8 (3, H, W)``."""
    return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))


def _may_be_mirrored(caption: str) -> bool:
    return SIDES.isdisjoint(caption.lower().split())


def _varied(crop: Tensor, *, mirrored: bool) -> Tensor:
    size = crop.shape[-1]
    vary = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.5, 1.0), ratio=(0.75, 1.33), antialias=True),
            v2.RandomHorizontalFlip(0.5 if mirrored else 0.0),
            v2.RandAugment(num_ops=1, magnitude=7),
        ]
    )
    varied: Tensor = vary(crop)
    return varied


def _view(image: Image, segment: Segment, size: int, rng: np.random.Generator) -> Image:
    """The segment in a view that the pipeline shows by default, or now and then in any."""
    views = members(VIEW) if rng.random() < 0.5 else tuple(VIEWS)
    crop: Image = crop_views(image, [segment], views[int(rng.integers(len(views)))], size)[0]
    return crop


def _whole(image: Image) -> Segment:
    segment = segment_of(np.ones(image.shape[:2], bool))
    if segment is None:
        raise ValueError("a picture without pixels")
    return segment


def _shaken(mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask with the errors of a mask model: edges moved, corners rounded, a side cut off."""
    pixels = mask.astype(np.float32)
    sigma = rng.uniform(0.005, 0.02) * max(mask.shape)
    shaken = cv2.GaussianBlur(pixels, (0, 0), sigma) > rng.uniform(0.3, 0.7)
    if rng.random() < 0.3:
        ys, xs = np.nonzero(shaken)
        along = rng.normal(size=2)
        reach = along[0] * ys + along[1] * xs
        if len(reach):
            gone = reach < np.quantile(reach, rng.uniform(0.1, 0.4))
            shaken[ys[gone], xs[gone]] = False
    return shaken if shaken.any() else mask


def _before_another(image: Image, mask: Mask, rng: np.random.Generator) -> Image:
    """The subject before one colour, a gradient of two, or coarse noise."""
    height, width = mask.shape
    cells = int(rng.choice([1, 2, 6]))
    coarse = rng.integers(0, 256, (cells, cells, 3), np.uint8)
    background = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)[..., None]
    mixed: Image = np.rint(soft * image + (1 - soft) * background).astype(np.uint8)
    return mixed
