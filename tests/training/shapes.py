"""A data set of plain coloured shapes, in memory, and the smallest networks."""

from __future__ import annotations

import cv2
import numpy as np

from slip.data.pictures import Picture
from slip.types import Image, Mask

COLOURS = {"blue": (40, 60, 220), "green": (30, 180, 60), "red": (220, 50, 40)}


class Shapes:
    """Discs of three colours, each class a colour, on white."""

    name = "shapes"
    unreadable: tuple[tuple[str, str], ...] = ()

    def __init__(self, count: int = 8, size: int = 40, with_masks: bool = False) -> None:
        self.size = size
        self.with_masks = with_masks
        self.classes = tuple(sorted(COLOURS))
        names = [f"{label}/{index:02}.png" for label in self.classes for index in range(count)]
        self.pictures = tuple(
            Picture(name, name.partition("/")[0], name.partition("/")[0], group)
            for group, name in enumerate(names)
        )
        self.digest = f"shapes-{count}-{size}"

    def load(self, picture: Picture) -> tuple[Image, Mask | None]:
        rng = np.random.default_rng(picture.group)
        disc = np.zeros((self.size, self.size), np.uint8)
        centre = tuple(int(value) for value in rng.integers(self.size // 3, 2 * self.size // 3, 2))
        cv2.circle(disc, centre, int(rng.integers(self.size // 5, self.size // 3)), 1, -1)
        image = np.full((self.size, self.size, 3), 255, np.uint8)
        image[disc > 0] = COLOURS[picture.label]
        return image, disc > 0 if self.with_masks else None
