"""Things that are no critters: what the right answer must be told from."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from slip.data.critters.backgrounds import texture
from slip.data.critters.draw import OVER, Sprite, crops, shrink, tint
from slip.data.critters.shapes import Polygon, blob, ellipse, leaf, limb, rotation
from slip.data.critters.species import COLOURS

Shape = Callable[[np.random.Generator], list[tuple[Polygon, float]]]
"""Outlines back to front, each with the brightness of its paint."""


def draw_thing(kind: str, colour: str, size: int, rng: np.random.Generator) -> Sprite:
    """A thing of THINGS in a named colour, about ``size`` pixels across."""
    side = OVER * size
    turn = rotation(rng.uniform(-25, 25))
    grain = 1 + rng.uniform(0.02, 0.2) * texture(side, rng)
    grain *= cv2.resize(rng.uniform(0.75, 1.15, (2, 2)).astype(np.float32), (side, side))
    paint = tint(COLOURS[colour], rng)
    rgb = np.zeros((3, side, side), np.float32)
    alpha = np.zeros((side, side), np.uint8)
    for outline, brightness in THINGS[kind](rng):
        shape = np.zeros((side, side), np.uint8)
        points = (outline @ turn.T * 0.46 + 0.5) * side
        cv2.fillPoly(shape, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
        np.multiply(np.clip(paint * brightness, 0, 255), grain, out=rgb, where=shape > 0)
        alpha = np.maximum(alpha, shape)
    alpha = cv2.resize(alpha, (size, size), interpolation=cv2.INTER_AREA)
    crop, fine = crops(alpha)
    return Sprite(shrink(rgb, fine, alpha[crop]), np.zeros_like(alpha[crop]))


def _rock(rng: np.random.Generator) -> list[tuple[Polygon, float]]:
    wobble = rng.normal(0, 0.07, (5, 2))
    return [(blob(0, 0.1, 0.9, rng.uniform(0.5, 0.8), wobble), 1.0)]


def _ball(_: np.random.Generator) -> list[tuple[Polygon, float]]:
    return [(ellipse(0, 0, 0.85, 0.85), 1.0), (ellipse(0, 0, 0.85, 0.26), 0.62)]


def _box(rng: np.random.Generator) -> list[tuple[Polygon, float]]:
    tall = rng.uniform(0.5, 0.9)
    front = np.array([(-0.8, -tall + 0.2), (0.5, -tall + 0.2), (0.5, 0.85), (-0.8, 0.85)], np.float32)
    side = np.array([(0.5, -tall + 0.2), (0.85, -tall), (0.85, 0.6), (0.5, 0.85)], np.float32)
    lid = np.array([(-0.8, -tall + 0.2), (-0.45, -tall), (0.85, -tall), (0.5, -tall + 0.2)], np.float32)
    return [(front, 1.0), (side, 0.65), (lid, 1.25)]


def _mushroom(rng: np.random.Generator) -> list[tuple[Polygon, float]]:
    stem = limb((0, 0.0), (rng.uniform(-0.15, 0.15), 0.4), (0, 0.85), (0.2, 0.26))
    turn = np.linspace(np.pi, 2 * np.pi, 24)
    cap = np.stack([0.85 * np.cos(turn), 0.2 + 0.85 * np.sin(turn)], 1).astype(np.float32)
    return [(stem, 1.35), (cap, 1.0)]


def _leaf(rng: np.random.Generator) -> list[tuple[Polygon, float]]:
    bend = rng.uniform(-0.2, 0.2)
    return [(leaf((0, 0.9), (0, -0.9), 0.45, bend), 1.0), (leaf((0, 0.95), (0, -0.8), 0.04, bend), 0.6)]


def _star(rng: np.random.Generator) -> list[tuple[Polygon, float]]:
    turn = np.linspace(0, 2 * np.pi, 11)[:-1] + rng.uniform(0, 0.6)
    radius = np.where(np.arange(10) % 2, 0.42, 0.92)
    return [(np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1).astype(np.float32), 1.0)]


def _bush(rng: np.random.Generator) -> list[tuple[Polygon, float]]:
    spots = rng.uniform([-0.5, -0.3], [0.5, 0.4], (5, 2))
    return [(ellipse(float(x), float(y), 0.42, 0.4), float(rng.uniform(0.75, 1.15))) for x, y in spots]


THINGS: dict[str, Shape] = {
    "rock": _rock,
    "ball": _ball,
    "box": _box,
    "mushroom": _mushroom,
    "leaf": _leaf,
    "star": _star,
    "bush": _bush,
}
