"""Where the accent shows on a critter's body.

A pattern is a height over the drawing; the accent shows where it is above 0, with a soft edge.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Window = tuple[slice, slice]
"""Rows and columns of a drawing."""
Pattern = Callable[[Window], Field]
"""From a window of the drawing to the share of the accent in it, ``float32 (h, w)`` 0 to 1."""
Height = Callable[[Field, Field], Field]
"""From x and y in a critter's own space to the height there."""


def make_pattern(
    kind: str, side: int, reach: float, turn: NDArray[np.float64], rng: np.random.Generator
) -> Pattern | None:
    """A pattern on a square drawing; None where no accent shows.

    kind: one of PATTERNS. side: of the drawing, in pixels; ``reach`` is half of it in the
    critter's own units, which ``turn`` turns and mirrors.
    """
    phase = rng.uniform(0, 6)
    if kind == "plain":
        return None
    height = (
        _patched(side, rng) if kind == "patched" else _placed(_HEIGHTS[kind](phase, rng), side, reach, turn)
    )
    return lambda window: np.asarray(np.clip(height(window) * (side / 40) + 0.5, 0, 1))


def _placed(height: Height, side: int, reach: float, turn: NDArray[np.float64]) -> Pattern:
    """A height over the pixels of the drawing."""
    axis = (np.arange(side, dtype=np.float32) - side / 2) * (2 * reach / side)
    back = np.linalg.inv(turn).astype(np.float32)

    def over(window: Window) -> Field:
        x, y = axis[window[1]][None], axis[window[0]][:, None]
        return height(back[0, 0] * x + back[0, 1] * y, back[1, 0] * x + back[1, 1] * y)

    return over


def _striped(phase: float, rng: np.random.Generator) -> Height:
    rate = rng.uniform(19, 25)

    def height(x: Field, y: Field) -> Field:
        wave = np.sin(rate * (x + 0.25 * y) + phase + 0.6 * np.sin(7 * y))
        return np.asarray((wave - 0.1) / 9, np.float32)

    return height


def _spotted(phase: float, rng: np.random.Generator) -> Height:
    rate = rng.uniform(4.0, 5.0)

    def height(x: Field, y: Field) -> Field:
        row = np.floor(y * rate)
        odd = row - 2 * np.floor(row / 2)
        across = x * rate + 0.5 * odd + phase
        dx, dy = across - np.floor(across) - 0.5, y * rate - row - 0.5
        return np.asarray((0.32 - np.sqrt(dx**2 + dy**2)) / rate)

    return height


def _belly(_phase: float, _rng: np.random.Generator) -> Height:
    return lambda x, y: y - 0.05 - 0.1 * x**2


def _patched(side: int, rng: np.random.Generator) -> Pattern:
    coarse = rng.normal(-0.4, 1, (9, 9)).astype(np.float32)
    height = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) / 9
    return lambda window: height[window]


_HEIGHTS: dict[str, Callable[[float, np.random.Generator], Height]] = {
    "striped": _striped,
    "spotted": _spotted,
    "belly": _belly,
}
