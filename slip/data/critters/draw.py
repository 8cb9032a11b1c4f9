"""From a species to pixels: one critter with its alpha channel and its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from slip.data.critters.bodies import PARTS, Part, body_parts
from slip.data.critters.shapes import rotation
from slip.data.critters.species import COLOURS, Species

Style = Literal["picture", "artwork"]
Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]

_OVER = 2
"""Critters are drawn at twice their size and averaged down."""
_REACH = 1.35
"""Half the side of the drawing in a critter's own units."""


@dataclass(frozen=True, eq=False)
class Sprite:
    """A drawn critter or thing, cropped to its box.

    rgba: ``uint8 (h, w, 4)``, alpha not premultiplied.
    parts: ``uint8 (h, w)``, 1 + index into PARTS where alpha >= 128, else 0.
    """

    rgba: Pixels
    parts: Pixels


def draw_critter(species: Species, size: int, rng: np.random.Generator, style: Style = "picture") -> Sprite:
    """One critter in a pose, tint and light of its own, about ``size`` pixels across."""
    side = int(size * _OVER)
    scale = side / (2 * _REACH)
    turn = rotation(rng.uniform(-14, 14)) @ np.diag([float(rng.choice([-1.0, 1.0])), 1.0])
    paints = _paints(species, rng)
    pattern = _pattern(species, side, turn, rng)
    outlined = style == "artwork" or rng.random() < 0.5
    canvas = _Canvas(side, light=rng.uniform(-0.7, 0.7), depth=0.16 if style == "artwork" else rng.uniform(0.1, 0.42))
    stroke = max(1, round(side / 90)) * (2 if style == "artwork" else 1) if outlined else 0
    for part in body_parts(species, rng):
        outline = part.outline @ turn.T * scale + side / 2
        texture = (paints["accent"], pattern) if part.paint == "colour" else None
        canvas.paint(outline, paints[part.paint], 1 + PARTS.index(part.name), texture, 0 if part.paint == "pupil" else stroke)
    return canvas.sprite()


def _paints(species: Species, rng: np.random.Generator) -> dict[str, Field]:
    """A colour for each paint of a part, ``float32 (3,)`` RGB 0 to 255."""
    colour, accent = (tint(COLOURS[name], rng) for name in (species.colour, species.accent))
    return {
        "colour": colour,
        "plain": colour,
        "far": colour * 0.72,
        "accent": accent,
        "pale": colour * 0.45 + 0.55 * 255,
        "beak": np.float32([236, 168, 60]),
        "eye": np.float32([250, 250, 250]),
        "pupil": np.float32([28, 26, 34]),
    }


def tint(colour: tuple[int, int, int], rng: np.random.Generator) -> Field:
    """A colour as it turns out on one individual: a little lighter, darker or shifted."""
    shifted = np.float32(colour) * rng.uniform(0.86, 1.1) + rng.normal(0, 7, 3)
    return np.clip(shifted, 0, 255).astype(np.float32)


def _pattern(species: Species, side: int, turn: NDArray[np.float64], rng: np.random.Generator) -> Field:
    """Where the accent shows on the body, ``float32 (side, side)`` 0 to 1."""
    axis = (np.arange(side, dtype=np.float32) - side / 2) * (2 * _REACH / side)
    inverse = np.linalg.inv(turn).astype(np.float32)
    u = inverse[0, 0] * axis[None] + inverse[0, 1] * axis[:, None]
    v = inverse[1, 0] * axis[None] + inverse[1, 1] * axis[:, None]
    soft = side / 40

    def edge(height: Field) -> Field:
        return np.clip(height * soft + 0.5, 0, 1)

    phase = rng.uniform(0, 6)
    if species.pattern == "striped":
        return edge((np.sin(rng.uniform(19, 25) * (u + 0.25 * v) + phase + 0.6 * np.sin(7 * v)) - 0.1) / 9)
    if species.pattern == "spotted":
        rate = rng.uniform(4.0, 5.0)
        row = np.floor(v * rate)
        cell_u, cell_v = (u * rate + 0.5 * (row % 2) + phase) % 1 - 0.5, v * rate - row - 0.5
        return edge((0.32 - np.sqrt(cell_u**2 + cell_v**2)) / rate)
    if species.pattern == "patched":
        coarse = rng.normal(-0.4, 1, (9, 9)).astype(np.float32)
        return edge(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) / 9)
    if species.pattern == "belly":
        return edge(v - 0.05 - 0.1 * u**2)
    return np.zeros((side, side), np.float32)


class _Canvas:
    """A square drawing with an alpha channel and the part seen at each pixel."""

    def __init__(self, side: int, light: float, depth: float) -> None:
        self.rgb = np.zeros((side, side, 3), np.float32)
        self.alpha = np.zeros((side, side), np.uint8)
        self.labels = np.zeros((side, side), np.uint8)
        self.shading = _shading(light, depth)

    def paint(
        self,
        outline: NDArray[np.float64],
        colour: Field,
        label: int,
        texture: tuple[Field, Field] | None,
        stroke: int,
    ) -> None:
        """Fill a polygon over what is there. texture: the other colour, and where it shows."""
        side = len(self.alpha)
        low = np.clip(np.floor(outline.min(0)).astype(int) - stroke - 1, 0, side - 1)
        high = np.clip(np.ceil(outline.max(0)).astype(int) + stroke + 2, 1, side)
        x, y = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        shape = (y.stop - y.start, x.stop - x.start)
        points = [np.round((outline - low) * 16).astype(np.int32)]
        coverage = np.zeros(shape, np.uint8)
        cv2.fillPoly(coverage, points, 255, cv2.LINE_AA, shift=4)
        fill = np.broadcast_to(colour, (*shape, 3))
        if texture is not None:
            accent, field = texture
            fill = colour + (accent - colour) * field[y, x, None]
        fill = fill * cv2.resize(self.shading, shape[::-1])[..., None]
        if stroke:
            line = np.zeros(shape, np.uint8)
            cv2.polylines(line, points, True, 255, stroke, cv2.LINE_AA, shift=4)
            coverage = np.maximum(coverage, line)
            fill = fill + (colour * 0.3 - fill) * (line[..., None] / np.float32(255))
        share = coverage[..., None] / np.float32(255)
        self.rgb[y, x] += (fill - self.rgb[y, x]) * np.where(self.alpha[y, x, None] > 0, share, share > 0)
        self.alpha[y, x] = np.maximum(self.alpha[y, x], coverage)
        self.labels[y, x][coverage >= 128] = label

    def sprite(self) -> Sprite:
        side = len(self.alpha) // _OVER
        alpha = cv2.resize(self.alpha, (side, side), interpolation=cv2.INTER_AREA)
        rgb = cv2.resize(self.rgb, (side, side), interpolation=cv2.INTER_AREA)
        corners = [self.labels[dy :: _OVER, dx :: _OVER][:side, :side] for dy in range(_OVER) for dx in range(_OVER)]
        parts = corners[0]
        for other in corners[1:]:
            parts = np.where(parts == 0, other, parts)
        parts = np.where(alpha >= 128, parts, 0).astype(np.uint8)
        rgba = np.dstack([np.clip(rgb, 0, 255).astype(np.uint8), alpha])
        x, y, width, height = cv2.boundingRect(alpha)
        crop = slice(y, y + height), slice(x, x + width)
        return Sprite(np.ascontiguousarray(rgba[crop]), np.ascontiguousarray(parts[crop]))


def _shading(light: float, depth: float) -> Field:
    """The light on a rounded shape, ``float32 (32, 32)`` around 1; light: -1 left to 1 right."""
    axis = np.linspace(-1, 1, 32, dtype=np.float32)
    x, y = axis[None], axis[:, None]
    height = np.sqrt(np.clip(1 - 0.5 * (x**2 + y**2), 0, 1))
    lit = 0.45 * light * x - 0.6 * y + 0.66 * height
    return np.asarray(1 + depth * (lit - 0.45), np.float32)
