"""Where SAM is asked: a grid of points, coarse to fine."""

from __future__ import annotations

from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray
from segment_anything.utils.amg import build_point_grid

from slip.models.sam.fullsize import Found
from slip.types import Features

STRIDE = 4
"""Coarse points: every fourth of a row and of a column."""

MARGIN = 1 / 16
"""How deep inside a mask a point must lie to be left out, in sides of the picture.

Near an outline SAM's answers change from point to point, and the best of them often comes from just
outside; deep inside they repeat each other.
"""

LIKELY = 1 / 4
"""Share of the points that are asked besides the coarse ones, where a map of interest guides."""

Numbers = NDArray[np.intp]
"""Points of a grid, counted row by row."""


class Grid:
    """The points of one picture.

    per_side: the grid has per_side squared of them. size: (height, width) of the picture.
    places: ``float64 (n, 2)``, x and y in its pixels.
    """

    def __init__(self, per_side: int, size: tuple[int, int]) -> None:
        height, width = size
        self.per_side = per_side
        self.places: NDArray[np.float64] = build_point_grid(per_side) * (width, height)
        self._pixels = self.places.astype(int)

    def coarse(self) -> NDArray[np.bool_]:
        """Which points are asked whatever the others say."""
        chosen = np.arange(self.per_side) % STRIDE == min(1, self.per_side - 1)
        both: NDArray[np.bool_] = chosen[:, None] & chosen
        return both.ravel()

    def likely(self, interest: Features) -> NDArray[np.bool_]:
        """Which points lie in the LIKELY share of the picture with the most ``interest``, ``(h, w)``."""
        values = cv2.resize(interest, (self.per_side, self.per_side), interpolation=cv2.INTER_LINEAR).ravel()
        likely = np.zeros(len(values), bool)
        likely[np.argsort(-values, kind="stable")[: ceil(LIKELY * len(values))]] = True
        return likely

    def deep_inside(self, found: Found) -> NDArray[np.bool_]:
        """Which points lie in a mask together with all points around, as far as MARGIN."""
        inside = np.zeros(len(self.places), np.uint8)
        box, (x, y) = found.box, self._pixels.T
        near = np.flatnonzero((x >= box.x1) & (x < box.x2) & (y >= box.y1) & (y < box.y2))
        inside[near] = found.patch[y[near] - box.y1, x[near] - box.x1]
        around = 2 * ceil(MARGIN * self.per_side) + 1
        kernel = np.ones((around, around), np.uint8)
        deep: NDArray[np.uint8] = cv2.erode(inside.reshape(self.per_side, -1), kernel, borderValue=1)
        return deep.ravel().view(bool)
