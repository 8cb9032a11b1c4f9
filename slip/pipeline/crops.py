"""Stage 3: show each segment to the encoder as a small square picture.

A view is one function from a picture and a segment to a square; VIEWS names them, and an ensemble
is made of some of them. All work on the segment's box, so that time and memory follow the boxes and
not the picture; what is blurred or mixed is reduced to the square before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

import cv2
import numpy as np

from slip.errors import UsageError
from slip.images import resize
from slip.options import View
from slip.types import Box, Image, Segment

MARGIN = 0.1
"""``blur``, ``blur-dim``: margin on each side, in longer sides of the box."""

CONTEXT = 0.25
"""``context``: the same. The crop of 1.5 x the box in ViLD (arXiv 2104.13921, section 3.2)."""

BLUR_SIGMA = 0.05
"""``blur``, ``blur-dim``: standard deviation of the blur, in longer sides of the box."""

DIM = 0.1
"""``blur-dim``: brightness that is left outside the mask (CLIPSeg, arXiv 2112.10003, table 2)."""

ENSEMBLE: tuple[View, ...] = ("black", "context", "raw")
"""``ensemble``: its members, chosen by ``python -m benchmarks.ranking``."""


def members(view: View) -> tuple[View, ...]:
    """The views that ``view`` is made of: itself, or those of the ensemble.

    A segment's features are the mean of the unit features of these, made a unit vector again (as in
    ViLD, arXiv 2104.13921, section 3.2).

    Raises UsageError for a view that is not known.
    """
    if view == "ensemble":
        return ENSEMBLE
    if view not in VIEWS:
        raise UsageError(f"view {view!r} is not known; choose from {', '.join((*VIEWS, 'ensemble'))}")
    return (view,)


def crop_views(image: Image, segments: Sequence[Segment], view: View, size: int) -> Image:
    """Each segment of ``image`` as a square picture: ``uint8 (N, size, size, 3)`` RGB.

    image: ``uint8 (H, W, 3)`` RGB.
    view: ``black`` is the paper's (arXiv 2405.07284): black outside the mask, cut to the box,
    squashed to the square. All others keep the aspect and pad with black around the centre:
    ``letterbox-black`` is else the same, ``blur`` shows the box with a margin, blurred outside the
    mask, ``blur-dim`` darkens that, too. ``raw`` is the box and ``context`` the box with a wider
    margin, nothing hidden.

    Shrinks by area averaging, enlarges by bicubic interpolation. No view cuts any of the mask.
    Raises UsageError for another view, for the ensemble, whose ``members`` are views, for a size below
    1 and for segments of another picture.
    """
    if members(view) != (view,):
        raise UsageError(f"{view!r} is several views; crop {', '.join(members(view))} one by one")
    if size < 1:
        raise UsageError(f"crop size {size} is too small; give 1 or more")
    crops = np.empty((len(segments), size, size, 3), np.uint8)
    for crop, segment in zip(crops, segments, strict=True):
        if segment.image_size != image.shape[:2]:
            raise UsageError(
                f"a segment of a {segment.image_size} picture does not fit one of {image.shape[:2]}"
            )
        crop[:] = VIEWS[view](image, segment, size)
    return crops


def _black(image: Image, segment: Segment, size: int) -> Image:
    return resize(_masked(image, segment), size, size)


def _letterbox_black(image: Image, segment: Segment, size: int) -> Image:
    return _pad(_fit(_masked(image, segment), size), size)


def _raw(image: Image, segment: Segment, size: int) -> Image:
    return _pad(_fit(image[segment.box.slices], size), size)


def _context(image: Image, segment: Segment, size: int) -> Image:
    return _pad(_fit(image[_widened(segment, CONTEXT).slices], size), size)


def _blur(image: Image, segment: Segment, size: int, brightness: float = 1.0) -> Image:
    """Blurred outside the mask, and of that brightness there."""
    box = _widened(segment, MARGIN)
    sharp = _fit(image[box.slices], size)
    inside = _fit(_mask_in(segment, box), size)[..., None] / np.float32(255)
    side = max(segment.box.width, segment.box.height)
    sigma = BLUR_SIGMA * side * size / max(box.width, box.height)
    blurred = cv2.GaussianBlur(sharp, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    outside = (1 - inside) * np.float32(brightness)
    mixed = np.rint(inside * sharp + outside * blurred).astype(np.uint8)
    return _pad(mixed, size)


def _blur_dim(image: Image, segment: Segment, size: int) -> Image:
    return _blur(image, segment, size, DIM)


VIEWS: dict[View, Callable[[Image, Segment, int], Image]] = {
    "black": _black,
    "letterbox-black": _letterbox_black,
    "blur": _blur,
    "blur-dim": _blur_dim,
    "context": _context,
    "raw": _raw,
}


def _masked(image: Image, segment: Segment) -> Image:
    """The segment's box, black outside the mask."""
    black_outside: Image = cv2.copyTo(image[segment.box.slices], segment.patch.view(np.uint8))
    return black_outside


def _widened(segment: Segment, share: float) -> Box:
    """The segment's box with a margin of that share of its longer side, clipped at the picture."""
    box, (height, width) = segment.box, segment.image_size
    margin = ceil(share * max(box.width, box.height))
    return Box(
        max(box.x1 - margin, 0),
        max(box.y1 - margin, 0),
        min(box.x2 + margin, width),
        min(box.y2 + margin, height),
    )


def _mask_in(segment: Segment, box: Box) -> Image:
    """The mask inside a box around the segment's own: ``uint8 (box.height, box.width)``, 0 or 255."""
    mask = np.zeros((box.height, box.width), np.uint8)
    own = segment.box
    mask[own.y1 - box.y1 : own.y2 - box.y1, own.x1 - box.x1 : own.x2 - box.x1][segment.patch] = 255
    return mask


def _fit(pixels: Image, size: int) -> Image:
    """Resized, aspect kept, until the longer side is ``size``; no side below 1."""
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    return resize(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def _pad(pixels: Image, size: int) -> Image:
    """Centred on a black square."""
    height, width = pixels.shape[:2]
    square = np.zeros((size, size, 3), np.uint8)
    y, x = (size - height) // 2, (size - width) // 2
    square[y : y + height, x : x + width] = pixels
    return square
