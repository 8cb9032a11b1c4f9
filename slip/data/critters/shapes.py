"""Outlines in a critter's own space: x to the right, y down, the critter within -1 to 1.

Every function returns a closed polygon, ``float32 (N, 2)``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float32]
Point = tuple[float, float]

_TURN = np.linspace(0, 2 * np.pi, 28, endpoint=False)
_COS, _SIN = np.cos(_TURN), np.sin(_TURN)
_ALONG = np.linspace(0, 1, 12)[:, None]
_START, _MIDDLE, _END = (1 - _ALONG) ** 2, 2 * _ALONG * (1 - _ALONG), _ALONG**2
_BLADE = np.sin(np.pi * np.linspace(0.12, 1, len(_ALONG))) ** 0.8 + 0.02
_BOW = np.linspace(np.pi / 2, -np.pi / 2, 7)[1:-1, None]
_BOW_COS, _BOW_SIN = np.cos(_BOW), np.sin(_BOW)


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0.0) -> Polygon:
    """An ellipse around (x, y), turned clockwise."""
    points = np.stack([rx * _COS, ry * _SIN], 1)
    turned: Polygon = (points @ rotation(degrees).T + (x, y)).astype(np.float32)
    return turned


def rotation(degrees: float) -> NDArray[np.float64]:
    """The 2 x 2 matrix that turns clockwise on the screen."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def bezier(start: Point, middle: Point, end: Point) -> NDArray[np.float64]:
    """Points along a quadratic Bezier curve, ``(12, 2)``."""
    return np.asarray(_START * np.array(start) + _MIDDLE * np.array(middle) + _END * np.array(end))


def ribbon(line: NDArray[np.float64], widths: NDArray[np.float64] | Point) -> Polygon:
    """A band along a line ``(N, 2)``, with round ends.

    widths: half the width at each point, or (first, last) to taper evenly.
    """
    half = np.linspace(widths[0], widths[1], len(line)) if len(widths) == 2 else np.asarray(widths)
    ahead = _directions(line)
    aside = np.stack([-ahead[:, 1], ahead[:, 0]], 1)
    cap_end = line[-1] + half[-1] * (_BOW_COS * ahead[-1] + _BOW_SIN * aside[-1])
    cap_start = line[0] - half[0] * (_BOW_COS * ahead[0] + _BOW_SIN * aside[0])
    out = half[:, None] * aside
    left, right = line + out, line - out
    return np.concatenate([left, cap_end, right[::-1], cap_start]).astype(np.float32)


def _directions(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors along a line, from its central differences."""
    steps = np.empty_like(line)
    steps[0], steps[-1] = line[1] - line[0], line[-1] - line[-2]
    steps[1:-1] = (line[2:] - line[:-2]) / 2
    return np.asarray(steps / (np.sqrt((steps * steps).sum(1, keepdims=True)) + 1e-9))


def limb(start: Point, joint: Point, end: Point, widths: Point) -> Polygon:
    """A leg, arm or neck bent at a joint."""
    return ribbon(bezier(start, joint, end), widths)


def leaf(root: Point, tip: Point, width: float, bend: float = 0.0) -> Polygon:
    """A pointed blade from root to tip: an ear, a fin, a feather, a wing.

    bend: how far the middle is pushed aside, in units of the length.
    """
    way = np.subtract(tip, root)
    middle = np.add(root, tip) / 2 + bend * np.array([-way[1], way[0]])
    line = bezier(root, (float(middle[0]), float(middle[1])), tip)
    return ribbon(line, width * _BLADE)


def blob(x: float, y: float, rx: float, ry: float, wobble: NDArray[np.float64]) -> Polygon:
    """An ellipse whose radius swells by the harmonics 2, 3, ... given as ``(K, 2)`` cos, sin."""
    order = np.arange(2, len(wobble) + 2)[:, None]
    radius = 1 + wobble[:, 0] @ np.cos(order * _TURN) + wobble[:, 1] @ np.sin(order * _TURN)
    return np.stack([x + rx * radius * _COS, y + ry * radius * _SIN], 1).astype(np.float32)
