"""Results as pictures: masks, cut-outs, overlays and index pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageEnhance
import PIL.ImageFont
from numpy.typing import NDArray

from slip.errors import UsageError
from slip.types import Box, Image, Mask, Segment

ACCENT = (255, 176, 0)
"""Amber, from a palette that colour-blind readers can tell apart."""
PLATE = (24, 24, 28)
MIN_TEXT = 11
"""Pixels; a caption that would be smaller is left out."""

_TILE = 1024
"""Side in pixels of what is drawn together: a whole large picture would be held a dozen times."""


def mask_picture(segment: Segment) -> NDArray[np.uint8]:
    """The mask as ``uint8 (H, W)``: 255 in the segment, 0 outside."""
    picture = np.zeros(segment.image_size, np.uint8)
    picture[segment.box.slices][segment.patch] = 255
    return picture


def cutout(image: Image, segment: Segment) -> NDArray[np.uint8]:
    """The segment alone, ``uint8 (H, W, 4)`` RGBA at the picture's size; outside it all four are 0.

    Raises UsageError for a segment of a picture of another size.
    """
    _check_belongs(image, segment)
    out = np.zeros((*segment.image_size, 4), np.uint8)
    part, patch = out[segment.box.slices], segment.patch
    np.copyto(part[..., :3], image[segment.box.slices], where=patch[..., None])
    np.copyto(part[..., 3], 255, where=patch)
    return out


def index_picture(
    segments: Sequence[Segment], image_size: tuple[int, int]
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """All segments in one ``(H, W)`` picture: 0 is background, i + 1 is ``segments[i]``.

    Smaller segments are drawn over larger ones, and of equals the earlier over the later.
    ``uint8`` for up to 255 segments, else ``uint16``. Raises UsageError for more than 65,535
    segments and for one of a picture of another size.
    """
    if len(segments) > 65535:
        raise UsageError(f"{len(segments)} segments do not fit an index picture; give at most 65535")
    out = np.zeros(image_size, np.uint8 if len(segments) <= 255 else np.uint16)
    for index in sorted(range(len(segments)), key=lambda i: (-segments[i].area, -i)):
        segment = segments[index]
        _check_belongs(out, segment)
        out[segment.box.slices][segment.patch] = index + 1
    return out


def overlay(image: Image, segment: Segment, caption: str = "") -> Image:
    """The picture with the segment tinted and outlined and everything else dimmed, ``uint8 (H, W, 3)``.

    caption: written beside the segment where it fits and the built-in font has all its letters.
    Raises UsageError for a segment of a picture of another size.
    """
    _check_belongs(image, segment)
    height, width = segment.image_size
    line = max(2.0, math.sqrt(width * height) / 220)
    margin = math.ceil(3 * line)
    window = _grown(segment.box, margin, within=Box(0, 0, width, height))
    patch = segment.patch
    out = np.empty_like(image)
    for top, left in product(range(0, height, _TILE), range(0, width, _TILE)):
        tile = Box(left, top, min(left + _TILE, width), min(top + _TILE, height))
        plain = PIL.Image.fromarray(image[tile.slices])
        drawn = PIL.ImageEnhance.Brightness(PIL.ImageEnhance.Color(plain).enhance(0.35)).enhance(0.5)
        near = tile.intersect(window)
        if near is not None:
            distance = _distance_to_edge(patch, segment.box, near, window, line)
            _draw_outline(drawn, plain, _relative(near, tile), distance, line)
        out[tile.slices] = np.asarray(drawn)
    _write_caption(out, caption, segment.box, margin)
    return out


def _draw_outline(
    drawn: PIL.Image.Image, plain: PIL.Image.Image, near: Box, distance: NDArray[np.float32], line: float
) -> None:
    """Tint the segment and trace its edge on a dimmed picture. near: where the distance is known."""
    place = near.x1, near.y1, near.x2, near.y2
    bright = plain.crop(place)
    tinted = PIL.Image.blend(bright, PIL.Image.new("RGB", bright.size, ACCENT), 0.18)
    drawn.paste(tinted, place, _alpha(distance + 0.5))
    drawn.paste(PLATE, place, _alpha((line + 1.5 - np.abs(distance)) * 0.55))
    drawn.paste(ACCENT, place, _alpha(line / 2 + 0.5 - np.abs(distance)))


def _distance_to_edge(patch: Mask, box: Box, near: Box, window: Box, line: float) -> NDArray[np.float32]:
    """Signed distance to the outline in pixels, positive inside, smoothed and cut off beyond the line.

    patch: the mask in its ``box``. near: where to tell it, within ``window``, beyond which nothing counts.
    """
    import cv2

    sigma = max(0.7, line / 3)
    seen = _grown(near, math.ceil(4 * line + 4 * sigma) + 2, within=window)  # what reaches into it
    inside = np.zeros((seen.height, seen.width), np.uint8)
    common = seen.intersect(box)
    if common is not None:
        inside[_relative(common, seen).slices] = patch[_relative(common, box).slices]
    to_outside = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    to_inside = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = np.clip(to_outside - to_inside, -4 * line, 4 * line) + np.where(inside, -0.5, 0.5)
    smooth: NDArray[np.float32] = cv2.GaussianBlur(
        distance.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE
    )
    return smooth[_relative(near, seen).slices]


def _grown(box: Box, margin: int, within: Box) -> Box:
    return Box(
        max(within.x1, box.x1 - margin),
        max(within.y1, box.y1 - margin),
        min(within.x2, box.x2 + margin),
        min(within.y2, box.y2 + margin),
    )


def _relative(box: Box, origin: Box) -> Box:
    """The box as seen from the corner of another."""
    return Box(box.x1 - origin.x1, box.y1 - origin.y1, box.x2 - origin.x1, box.y2 - origin.y1)


def _alpha(opacity: NDArray[np.floating]) -> PIL.Image.Image:
    return PIL.Image.fromarray((np.clip(opacity, 0, 1) * 255).round().astype(np.uint8))


def _write_caption(picture: Image, caption: str, box: Box, gap: int) -> None:
    """Above the box, else below it, else at the top of the picture; nowhere if it does not fit."""
    text = " ".join(caption.split())
    rows, columns = picture.shape[:2]
    font = _font(text, (columns, rows))
    if font is None:
        return
    pad = round(font.size * 0.4)
    width, height = math.ceil(font.getlength(text)) + 2 * pad, math.ceil(font.size * 1.2) + pad
    if height > rows:
        return
    left = max(0, min(box.x1, columns - width))
    above, below = box.y1 - gap - height, box.y2 + gap
    top = above if above >= 0 else below if below + height <= rows else 0
    place = picture[top : top + height, left : left + width]
    plate = PIL.Image.fromarray(place)
    draw = PIL.ImageDraw.Draw(plate)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), radius=pad, fill=PLATE)
    draw.text((pad, height / 2), text, font=font, fill="white", anchor="lm")
    place[:] = np.asarray(plate)


def _font(text: str, size: tuple[int, int]) -> PIL.ImageFont.FreeTypeFont | None:
    """The built-in font at the size that suits the picture and lets the text fit its width."""
    wanted = max(14.0, min(size) * 0.035)
    font = PIL.ImageFont.load_default(wanted)
    if not text or not isinstance(font, PIL.ImageFont.FreeTypeFont):
        return None
    missing = bytes(font.getmask("\uffff"))
    if any(bytes(font.getmask(letter)) == missing for letter in set(text)):
        return None
    needed = font.getlength(text) + 0.8 * wanted + 2
    fitting = min(wanted, math.floor(wanted * size[0] / needed))
    return font.font_variant(size=fitting) if fitting >= MIN_TEXT else None


def _check_belongs(image: NDArray[Any], segment: Segment) -> None:
    if image.shape[:2] != segment.image_size:
        raise UsageError(
            f"the segment is of a picture of size {segment.image_size}, this one is {image.shape[:2]}; "
            "use resize_segment or the picture it was found in"
        )
