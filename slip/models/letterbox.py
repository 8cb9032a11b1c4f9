"""A picture of any aspect on a square, and what was found there back at its own size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from slip.errors import UsageError
from slip.types import Image, Mask


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies on a square: aspect kept, centred, in whole pixels.

    side: of the square in pixels. height, width: of the picture on it. top, left: of its first pixel.
    image_size: (height, width) of the picture itself.
    """

    side: int
    height: int
    width: int
    top: int
    left: int
    image_size: tuple[int, int]

    @classmethod
    def of(cls, image_size: tuple[int, int], side: int) -> Letterbox:
        """For a picture of (height, width) pixels. Raises UsageError for a size below 1."""
        if min(*image_size, side) < 1:
            raise UsageError(f"a picture of {image_size} pixels on a square of {side}; give 1 or more")
        scale = side / max(image_size)
        height, width = (max(1, round(length * scale)) for length in image_size)
        return cls(side, height, width, (side - height) // 2, (side - width) // 2, image_size)

    @property
    def window(self) -> tuple[slice, slice]:
        """Index of the picture in arrays of layout ``(side, side, ...)``."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def picture(self, image: Image, pad: tuple[int, int, int]) -> Image:
        """``uint8 (H, W, 3)`` RGB on the square, by cubic interpolation, the rest in the colour ``pad``."""
        square = np.empty((self.side, self.side, 3), np.uint8)
        square[:] = pad
        square[self.window] = self._resized(image, cv2.INTER_CUBIC)
        return square

    def mask(self, mask: Mask) -> NDArray[np.uint8]:
        """``bool (H, W)`` on the square, ``uint8 (side, side)`` from 0 to 255, by linear interpolation."""
        square = np.zeros((self.side, self.side), np.uint8)
        square[self.window] = self._resized(mask.view(np.uint8) * np.uint8(255), cv2.INTER_LINEAR)
        return square

    def undo(self, square: NDArray[np.float32]) -> NDArray[np.float32]:
        """``float32 (side, side)`` back at the picture's own size, by cubic interpolation."""
        height, width = self.image_size
        inside = np.ascontiguousarray(square[self.window])
        if inside.shape == self.image_size:
            return inside
        return np.asarray(cv2.resize(inside, (width, height), interpolation=cv2.INTER_CUBIC))

    def _resized(self, pixels: NDArray[np.uint8], how: int) -> NDArray[np.uint8]:
        if pixels.shape[:2] != self.image_size:
            raise UsageError(f"a picture of {pixels.shape[:2]} pixels; expected {self.image_size}")
        if pixels.shape[:2] == (self.height, self.width):
            return pixels
        return np.asarray(cv2.resize(pixels, (self.width, self.height), interpolation=how), np.uint8)
