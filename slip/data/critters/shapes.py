"""Outlines in a critter's own space: x to the right, y down, the critter within -1 to 1.

Every function returns a closed polygon, ``float32 (N, 2)``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float32]
Point = tuple[float, float]

_TURN = np.linspace(0, 2 * np.pi, 28, endpoint=False)
_ALONG = np.linspace(0, 1, 12)


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0.0) -> Polygon:
    """An ellipse around (x, y), turned clockwise."""
    points = np.stack([rx * np.cos(_TURN), ry * np.sin(_TURN)], 1)
    return (points @ rotation(degrees).T + (x, y)).astype(np.float32)


def rotation(degrees: float) -> NDArray[np.float64]:
    """The 2 x 2 matrix that turns clockwise on the screen."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def bezier(start: Point, middle: Point, end: Point) -> NDArray[np.float64]:
    """Points along a quadratic Bezier curve, ``(12, 2)``."""
    t = _ALONG[:, None]
    return (1 - t) ** 2 * np.array(start) + 2 * t * (1 - t) * np.array(middle) + t**2 * np.array(end)


def ribbon(line: NDArray[np.float64], widths: NDArray[np.float64] | Point) -> Polygon:
    """A band along a line ``(N, 2)``, with round ends.

    widths: half the width at each point, or (first, last) to taper evenly.
    """
    half = np.linspace(widths[0], widths[1], len(line)) if len(widths) == 2 else np.asarray(widths)
    ahead = np.gradient(line, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-9
    aside = np.stack([-ahead[:, 1], ahead[:, 0]], 1)
    bow = np.linspace(np.pi / 2, -np.pi / 2, 7)[1:-1, None]
    cap_end = line[-1] + half[-1] * (np.cos(bow) * ahead[-1] + np.sin(bow) * aside[-1])
    cap_start = line[0] - half[0] * (np.cos(bow) * ahead[0] + np.sin(bow) * aside[0])
    left, right = line + half[:, None] * aside, line - half[:, None] * aside
    return np.concatenate([left, cap_end, right[::-1], cap_start]).astype(np.float32)


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
    profile = width * (np.sin(np.pi * np.linspace(0.12, 1, len(line))) ** 0.8 + 0.02)
    return ribbon(line, profile)


def blob(x: float, y: float, rx: float, ry: float, wobble: NDArray[np.float64]) -> Polygon:
    """An ellipse whose radius swells by the harmonics 2, 3, ... given as ``(K, 2)`` cos, sin."""
    order = np.arange(2, len(wobble) + 2)[:, None]
    radius = 1 + wobble[:, 0] @ np.cos(order * _TURN) + wobble[:, 1] @ np.sin(order * _TURN)
    return np.stack([x + rx * radius * np.cos(_TURN), y + ry * radius * np.sin(_TURN)], 1).astype(np.float32)
