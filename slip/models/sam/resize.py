"""How SAM's input is made: segment_anything's transform, for every size of picture and every device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from segment_anything.utils.transforms import ResizeLongestSide


class Resize(ResizeLongestSide):  # type: ignore[misc]
    """Makes the long side of pictures fill the input."""

    def apply_coords(self, coords: NDArray[Any], original_size: tuple[int, ...]) -> NDArray[np.float32]:
        """The parent's coordinates in float32: MPS has no float64."""
        return np.asarray(super().apply_coords(coords, original_size), np.float32)

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """The parent's size with no side of 0, which very long pictures would get."""
        height, width = ResizeLongestSide.get_preprocess_shape(oldh, oldw, long_side_length)
        return max(height, 1), max(width, 1)
