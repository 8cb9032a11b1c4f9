"""A sheet of pictures with their parts coloured, to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from slip.data.parts.records import SIDES, Part, PartPicture, PartSet
from slip.images import resize
from slip.types import Image, Mask, Progress

COUNT = 12
"""Pictures on a sheet, at most."""

_COLUMNS, _SIDE, _GAP = 4, 256, 12
_LINE, _TEXT, _SWATCH = 16, 12, 10
_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (148, 103, 189),
    (140, 200, 75),
    (170, 110, 60),
)
_STRENGTH = 0.6
_PAPER, _INK = (255, 255, 255), (24, 24, 28)


def choose_pictures(data: PartSet, count: int = COUNT) -> list[PartPicture]:
    """Pictures of all sides that there are, an equal number each as far as they go, evenly spaced."""
    sides = [own for side in SIDES if (own := data.pictures(side))]
    chosen: list[PartPicture] = []
    for left, own in zip(range(len(sides), 0, -1), sorted(sides, key=len), strict=True):
        wanted = min(len(own), (count - len(chosen)) // left)
        chosen += [own[(2 * index + 1) * len(own) // (2 * wanted)] for index in range(wanted)]
    return sorted(chosen, key=lambda picture: (SIDES.index(picture.side), picture.name))


def part_sheet(data: PartSet, progress: Progress | None = None) -> Image:
    """Some pictures of a set with the masks of their parts and their names, ``uint8 (H, W, 3)``.

    The same set gives the same sheet. progress: called as ``progress("draw", done, total)``.
    Raises ImageError.
    """
    chosen = choose_pictures(data)
    tiles = []
    for done, picture in enumerate(chosen, 1):
        tiles.append(_tile(picture, *data.load(picture)))
        if progress:
            progress("draw", done, len(chosen))
    rows = [tiles[start : start + _COLUMNS] for start in range(0, len(tiles), _COLUMNS)]
    heights = [max(tile.height for tile in row) for row in rows]
    width = _GAP + max(map(len, rows), default=1) * (_SIDE + _GAP)
    sheet = PIL.Image.new("RGB", (width, _GAP + sum(height + _GAP for height in heights)), _PAPER)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (_GAP + column * (_SIDE + _GAP), top))
        top += height + _GAP
    return np.asarray(sheet)


def _tile(picture: PartPicture, image: Image, masks: Mapping[Part, Mask]) -> PIL.Image.Image:
    """The picture, what it is called, and a line for each part."""
    parts = sorted(masks)
    seen = _coloured(image, [masks[part] for part in parts])
    height = seen.shape[0] + (1 + len(parts)) * _LINE + 4
    tile = PIL.Image.new("RGB", (_SIDE, height), _PAPER)
    tile.paste(PIL.Image.fromarray(seen), ((_SIDE - seen.shape[1]) // 2, 0))
    draw = PIL.ImageDraw.Draw(tile)
    top = seen.shape[0] + 4
    _write(draw, (0, top), f"{picture.side}: {picture.name.rpartition('/')[2]}")
    for number, part in enumerate(parts):
        top += _LINE
        box = (0, top + 2, _SWATCH, top + 2 + _SWATCH)
        draw.rectangle(box, fill=_COLOURS[number % len(_COLOURS)], outline=_INK)
        _write(draw, (_SWATCH + 6, top), part.category)
    return tile


def _coloured(image: Image, masks: Sequence[Mask]) -> Image:
    """The picture to fit a tile, its parts tinted, larger ones below smaller ones."""
    scale = _SIDE / max(image.shape[:2])
    width, height = (max(1, math.floor(side * scale + 0.5)) for side in image.shape[1::-1])
    small = resize(image, width, height).astype(np.float32)
    for number in sorted(range(len(masks)), key=lambda number: -np.count_nonzero(masks[number])):
        colour = np.array(_COLOURS[number % len(_COLOURS)], np.float32)
        share = resize(masks[number].astype(np.uint8) * 255, width, height)[..., None] * (_STRENGTH / 255)
        small = (small * (1 - share) + colour * share).astype(np.float32)
    tinted: Image = np.clip(small.round(), 0, 255).astype(np.uint8)
    return tinted


def _write(draw: PIL.ImageDraw.ImageDraw, place: tuple[int, int], text: str) -> None:
    """A line of text, cut where it leaves the tile."""
    font = PIL.ImageFont.load_default(_TEXT)
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:_SIDE])
    while shown and place[0] + font.getlength(shown) > _SIDE:
        shown = shown[:-1]
    draw.text(place, shown, font=font, fill=_INK)
