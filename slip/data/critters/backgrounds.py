"""What lies behind the critters, ``float32 (3, size, size)`` RGB planes 0 to 255."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Background = Callable[[int, np.random.Generator], Field]

_COLOUR = (3, 1, 1)
"""The shape of one colour, for arithmetic with planes."""


def background(size: int, rng: np.random.Generator) -> Field:
    """One of BACKGROUNDS, under uneven light."""
    canvas = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))](size, rng)
    light = cv2.resize(rng.uniform(0.82, 1.12, (2, 2)).astype(np.float32), (size, size))
    return np.asarray(canvas * light)


def soft_noise(size: int, cells: int, rng: np.random.Generator) -> Field:
    """Smooth noise, ``float32 (size, size)`` about -1 to 1, with ``cells`` bumps across."""
    coarse = rng.normal(0, 0.5, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def texture(size: int, rng: np.random.Generator) -> Field:
    """Noise of several scales, ``float32 (size, size)`` about -1 to 1."""
    octaves = [(3, 0.9), (8, 0.6), (24, 0.4), (80, 0.3)]
    layers = (rng.uniform(0, weight) * soft_noise(size, cells, rng) for cells, weight in octaves)
    return np.asarray(sum(layers), np.float32)


def _two_colours(rng: np.random.Generator, contrast: float) -> tuple[Field, Field]:
    one = rng.uniform(50, 235, _COLOUR).astype(np.float32)
    return one, np.clip(one + rng.normal(0, contrast, _COLOUR), 15, 250).astype(np.float32)


def _blend(one: Field, other: Field, share: Field) -> Field:
    return np.asarray(one + (other - one) * np.clip(share, 0, 1))


def _between(low: list[int], high: list[int], rng: np.random.Generator) -> NDArray[np.float64]:
    """A colour with each channel between its bounds, ``float64 (3, 1, 1)``."""
    return np.asarray(rng.uniform(low, high).reshape(_COLOUR))


def _rows(size: int) -> Field:
    """0 at the top to 1 at the bottom, ``float32 (size, size)``."""
    return np.repeat(np.linspace(0, 1, size, dtype=np.float32)[:, None], size, 1)


def _plain(size: int, rng: np.random.Generator) -> Field:
    colour = rng.uniform(40, 250, _COLOUR) if rng.random() < 0.7 else rng.choice([8.0, 250.0])
    return np.full((3, size, size), colour, np.float32)


def _gradient(size: int, rng: np.random.Generator) -> Field:
    one, other = _two_colours(rng, 90)
    corners = rng.random((2, 2)).astype(np.float32)
    return _blend(one, other, cv2.resize(corners, (size, size)))


def _cloth(size: int, rng: np.random.Generator) -> Field:
    one, other = _two_colours(rng, 45)
    return _blend(one, other, 0.5 + texture(size, rng))


def _meadow(size: int, rng: np.random.Generator) -> Field:
    sky_top = _between([90, 150, 200], [170, 205, 250], rng)
    sky_low = _between([190, 210, 225], [250, 240, 245], rng)
    ground = _between([70, 105, 45], [190, 175, 120], rng)
    row = _rows(size)
    canvas = _blend(sky_top.astype(np.float32), sky_low.astype(np.float32), row * 1.8)
    for depth in range(int(rng.integers(1, 4))):
        ridge = rng.uniform(0.3, 0.55) + 0.1 * depth + 0.05 * soft_noise(size, 6, rng)[0]
        hill = np.clip((row - ridge[None]) * size / 2, 0, 1)
        shade = ground * (0.75 + 0.17 * depth) + texture(size, rng) * 22
        canvas += (shade.astype(np.float32) - canvas) * hill
    return canvas


def _water(size: int, rng: np.random.Generator) -> Field:
    row = _rows(size)
    ripples = np.sin(row * rng.uniform(40, 90) + 5 * soft_noise(size, 5, rng)) * 0.1
    deep = _between([5, 50, 90], [40, 110, 150], rng).astype(np.float32)
    light = _between([80, 170, 190], [170, 225, 240], rng).astype(np.float32)
    return _blend(light, deep, row + ripples + 0.2 * soft_noise(size, 6, rng))


def _tiles(size: int, rng: np.random.Generator) -> Field:
    one, other = _two_colours(rng, 30)
    step = size / rng.uniform(4, 14)
    axis = np.arange(size) / step + rng.random()
    columns, rows = np.floor(axis)[None], np.floor(axis * rng.uniform(0.6, 1.4))[:, None]
    checker = ((columns + rows) % 2 if rng.random() < 0.5 else columns % 2 + 0 * rows).astype(np.float32)
    return _blend(one, other, checker) + 10 * texture(size, rng)


def _bokeh(size: int, rng: np.random.Generator) -> Field:
    canvas = cv2.merge(list(_gradient(size, rng) * 0.7))
    for _ in range(int(rng.integers(8, 25))):
        centre = tuple(int(value) for value in rng.integers(0, size, 2))
        radius, colour = int(size * rng.uniform(0.02, 0.09)), rng.uniform(90, 250, 3).tolist()
        lamp = cv2.circle(canvas.copy(), centre, radius, colour, -1, cv2.LINE_AA)
        canvas = cv2.addWeighted(canvas, 0.7, lamp, 0.3, 0)
    return np.stack(cv2.split(cv2.GaussianBlur(canvas, (0, 0), size / 90)))


BACKGROUNDS: tuple[Background, ...] = (_plain, _gradient, _cloth, _meadow, _water, _tiles, _bokeh)
