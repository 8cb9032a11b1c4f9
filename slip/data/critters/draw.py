"""From a species to pixels: one critter with its alpha channel and its parts."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from slip.data.critters.bodies import PARTS, body_parts
from slip.data.critters.patterns import Field, Pattern, Window, make_pattern
from slip.data.critters.shapes import rotation
from slip.data.critters.species import COLOURS, Species
from slip.errors import UsageError
from slip.options import Style

Pixels = NDArray[np.uint8]

OVER = 2
"""Everything is drawn at twice its size and averaged down."""
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
    """One critter in a pose, tint and light of its own, about ``size`` pixels across.

    Raises UsageError for a size below 1 and an unknown style.
    """
    if size < 1:
        raise UsageError(f"a critter of {size} pixels cannot be drawn; give 1 or more")
    check_style(style)
    side = int(size * OVER)
    scale = side / (2 * _REACH)
    artwork = style == "artwork"
    turn = rotation(rng.uniform(-14, 14)) @ np.diag([float(rng.choice([-1.0, 1.0])), 1.0])
    paints = _paints(species, rng)
    pattern = make_pattern(species.pattern, side, _REACH, turn, rng)
    outlined = artwork or rng.random() < 0.5
    canvas = _Canvas(side, light=rng.uniform(-0.7, 0.7), depth=0.16 if artwork else rng.uniform(0.1, 0.42))
    stroke = max(1, round(side / 90)) * (2 if artwork else 1) if outlined else 0
    for part in body_parts(species, rng):
        outline = part.outline @ turn.T * scale + side / 2
        texture = (paints["accent"], pattern) if pattern and part.paint == "colour" else None
        line = 0 if part.paint == "pupil" else stroke
        canvas.paint(outline, paints[part.paint], 1 + PARTS.index(part.name), texture, line)
    return canvas.sprite()


def check_style(style: str) -> None:
    """Refuse what is no Style. Raises UsageError."""
    if style not in get_args(Style):
        raise UsageError(f"style is {style!r}; give {' or '.join(get_args(Style))}")


def _paints(species: Species, rng: np.random.Generator) -> dict[str, Field]:
    """A colour for each paint of a part, ``float32 (3, 1, 1)`` RGB 0 to 255."""
    colour, accent = (tint(COLOURS[name], rng) for name in (species.colour, species.accent))
    return {
        "colour": colour,
        "plain": colour,
        "far": colour * 0.72,
        "accent": accent,
        "pale": colour * 0.45 + 0.55 * 255,
        "beak": _colour(236, 168, 60),
        "eye": _colour(250, 250, 250),
        "pupil": _colour(28, 26, 34),
    }


def tint(colour: tuple[int, int, int], rng: np.random.Generator) -> Field:
    """A colour as it turns out on one individual, ``float32 (3, 1, 1)``: lighter, darker or shifted."""
    shifted = _colour(*colour) * rng.uniform(0.86, 1.1) + rng.normal(0, 7, (3, 1, 1))
    return np.asarray(np.clip(shifted, 0, 255), np.float32)


def _colour(red: int, green: int, blue: int) -> Field:
    return np.array([[[red]], [[green]], [[blue]]], np.float32)


class _Canvas:
    """A square drawing with an alpha channel and the part seen at each pixel.

    Colours are kept in planes, ``float32 (3, side, side)``.
    """

    def __init__(self, side: int, light: float, depth: float) -> None:
        self.rgb = np.zeros((3, side, side), np.float32)
        self.alpha = np.zeros((side, side), np.uint8)
        self.labels = np.zeros((side, side), np.uint8)
        self.shading = _shading(light, depth)

    def paint(
        self,
        outline: NDArray[np.float64],
        colour: Field,
        label: int,
        texture: tuple[Field, Pattern] | None,
        stroke: int,
    ) -> None:
        """Fill a polygon over what is there. texture: the other colour, and where it shows."""
        y, x = window = self._window(outline, stroke)
        shape = (y.stop - y.start, x.stop - x.start)
        points = [np.round((outline - (x.start, y.start)) * 16).astype(np.int32)]
        coverage = np.zeros(shape, np.uint8)
        cv2.fillPoly(coverage, points, 255, cv2.LINE_AA, shift=4)
        fill = colour if texture is None else colour + (texture[0] - colour) * texture[1](window)
        fill = fill * cv2.resize(self.shading, shape[::-1])
        if stroke:
            line = np.zeros(shape, np.uint8)
            cv2.polylines(line, points, True, 255, stroke, cv2.LINE_AA, shift=4)
            coverage = np.maximum(coverage, line)
            fill += (colour * 0.3 - fill) * (line / np.float32(255))
        rgb, alpha = self.rgb[:, y, x], self.alpha[window]
        share = coverage / np.float32(255)
        fill -= rgb
        fill *= np.where(alpha > 0, share, share > 0)
        rgb += fill
        np.maximum(alpha, coverage, out=alpha)
        self.labels[window][coverage >= 128] = label

    def _window(self, outline: NDArray[np.float64], stroke: int) -> Window:
        """The part of the drawing that a polygon and its line can reach, at least one pixel."""
        last = len(self.alpha) - 1
        low = [min(max(floor(value) - stroke - 1, 0), last) for value in outline.min(0).tolist()]
        high = [min(max(ceil(value) + stroke + 2, 1), last + 1) for value in outline.max(0).tolist()]
        return slice(low[1], high[1]), slice(low[0], high[0])

    def sprite(self) -> Sprite:
        """The finished drawing at half its size, cropped to its box."""
        side = len(self.alpha) // OVER
        alpha = cv2.resize(self.alpha, (side, side), interpolation=cv2.INTER_AREA)
        crop, fine = crops(alpha)
        alpha = alpha[crop]
        labels = self.labels[fine]
        parts = labels[::OVER, ::OVER]
        for dy, dx in ((0, 1), (1, 0), (1, 1)):
            parts = np.where(parts == 0, labels[dy::OVER, dx::OVER], parts)
        return Sprite(shrink(self.rgb, fine, alpha), np.where(alpha >= 128, parts, np.uint8(0)))


def crops(alpha: Pixels) -> tuple[Window, Window]:
    """The window of what ``alpha`` shows, and the same window of the drawing it was averaged from."""
    x, y, width, height = cv2.boundingRect(alpha)
    box = slice(y, y + height), slice(x, x + width)
    rows, columns = (slice(OVER * side.start, OVER * side.stop) for side in box)
    return box, (rows, columns)


def shrink(rgb: Field, window: Window, alpha: Pixels) -> Pixels:
    """A window of planes ``(3, H, W)`` averaged down to the size of its ``alpha``: ``uint8 (h, w, 4)``."""
    if not alpha.size:
        return np.zeros((*alpha.shape, 4), np.uint8)
    pixels = cv2.merge([plane[window] for plane in rgb])
    small = cv2.resize(pixels, alpha.shape[::-1], interpolation=cv2.INTER_AREA)
    return np.dstack([np.clip(small, 0, 255).astype(np.uint8), alpha])


def _shading(light: float, depth: float) -> Field:
    """The light on a rounded shape, ``float32 (32, 32)`` around 1; light: -1 left to 1 right."""
    axis = np.linspace(-1, 1, 32, dtype=np.float32)
    x, y = axis[None], axis[:, None]
    height = np.sqrt(np.clip(1 - 0.5 * (x**2 + y**2), 0, 1))
    lit = 0.45 * light * x - 0.6 * y + 0.66 * height
    return np.asarray(1 + depth * (lit - 0.45), np.float32)
