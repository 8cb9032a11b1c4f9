"""Pure functions on masks and segments: boxes, overlaps, run-length codes, other sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil, floor
from typing import Any, NamedTuple, overload

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from pycocotools import mask as coco

from slip.errors import UsageError
from slip.types import Box, Mask, Segment


def mask_box(mask: Mask) -> Box | None:
    """The tight box of a ``bool (H, W)`` mask, or None for an empty one."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    y1, y2 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[y1:y2].any(axis=0))
    return Box(int(columns[0]), y1, int(columns[-1]) + 1, y2)


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two ``bool (H, W)`` masks; 0 where both are empty.

    Raises UsageError for masks of different shapes.
    """
    _check_same_size(a.shape, b.shape)
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 0.0


def encode_rle(mask: Mask) -> dict[str, Any]:
    """COCO's compressed run-length code of a ``bool (H, W)`` mask: ``size`` [h, w], ``counts`` a str."""
    rle = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def decode_rle(rle: Mapping[str, Any]) -> Mask:
    """The ``bool (H, W)`` mask of a COCO run-length code, compressed (str, bytes) or a list of runs.

    Raises UsageError for a code that does not fill its size exactly.
    """
    try:
        height, width = rle["size"]
        counts = rle["counts"]
        listed = not isinstance(counts, (str, bytes))
        code = {"size": [height, width], "counts": counts}
        mask = coco.decode(coco.frPyObjects(code, height, width) if listed else code).astype(bool)
        filled = sum(counts) == height * width if listed else _is_code_of(counts, mask)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError("not a COCO run-length code; give 'size' [h, w] and 'counts'") from error
    if not filled:
        raise UsageError(
            f"the run-length code does not fill its size {height} x {width}; encode the mask again"
        )
    return np.ascontiguousarray(mask)


def segment_of(
    mask: Mask, predicted_iou: float | None = None, stability: float | None = None
) -> Segment | None:
    """The segment of a whole ``bool (H, W)`` mask; None for an empty one."""
    box = mask_box(mask)
    if box is None:
        return None
    height, width = mask.shape
    return Segment(mask[box.slices].copy(), box, (height, width), predicted_iou, stability)


def intersection(a: Segment, b: Segment) -> int:
    """Pixels in both segments, counted in their common box only.

    Raises UsageError for segments of pictures of different sizes.
    """
    _check_same_size(a.image_size, b.image_size)
    common = a.box.intersect(b.box)
    return int(np.count_nonzero(_part(a, common) & _part(b, common))) if common else 0


def segment_iou(a: Segment, b: Segment) -> float:
    """Intersection over union of two segments of one picture, 0 to 1.

    Raises UsageError for segments of pictures of different sizes.
    """
    both = intersection(a, b)
    return both / (a.area + b.area - both)


def resize_segment(segment: Segment, image_size: tuple[int, int]) -> Segment | None:
    """The segment on the same picture at ``image_size`` (height, width); None where nothing is left.

    The mask is resampled with Pillow's bilinear filter, which averages when it shrinks, and cut at
    one half. Only the surroundings of the box are touched; the result is that of resizing the
    whole mask, up to rounding at the border. Raises UsageError for a size below one pixel.
    """
    height, width = image_size
    if height < 1 or width < 1:
        raise UsageError(f"cannot resize a segment to {height} x {width}; both sides need 1 pixel or more")
    if image_size == segment.image_size:
        return segment
    across = _Span.of(segment.box.x1, segment.box.x2, segment.image_size[1], width)
    down = _Span.of(segment.box.y1, segment.box.y2, segment.image_size[0], height)
    source = np.zeros((down.to - down.start, across.to - across.start), np.uint8)
    source[_shifted(segment.box, across.start, down.start).slices] = segment.patch.view(np.uint8) * 255
    grey = PIL.Image.fromarray(source).resize(
        (across.out_to - across.out_start, down.out_to - down.out_start),
        PIL.Image.Resampling.BILINEAR,
        (across.near, down.near, across.far, down.far),
    )
    patch = np.asarray(grey) > 127
    tight = mask_box(patch)
    if tight is None:
        return None
    box = _shifted(tight, -across.out_start, -down.out_start)
    return replace(segment, patch=patch[tight.slices].copy(), box=box, image_size=(height, width))


class Enlarged(Sequence[Segment]):
    """Segments of a reduced picture at the size of the picture itself, each enlarged when it is taken.

    So many masks of a large picture never stand in memory together. A segment too small for
    ``resize_segment`` to leave anything of it is enlarged pixel by pixel.
    """

    def __init__(self, reduced: Sequence[Segment], image_size: tuple[int, int]) -> None:
        self.reduced = reduced
        self.image_size = image_size

    def __len__(self) -> int:
        return len(self.reduced)

    @overload
    def __getitem__(self, index: int) -> Segment: ...

    @overload
    def __getitem__(self, index: slice) -> Enlarged: ...

    def __getitem__(self, index: int | slice) -> Segment | Enlarged:
        if isinstance(index, slice):
            return Enlarged(self.reduced[index], self.image_size)
        segment = self.reduced[index]
        return resize_segment(segment, self.image_size) or _repeated(segment, self.image_size)

    def __iter__(self) -> Iterator[Segment]:
        return (self[index] for index in range(len(self)))


def as_searched(segments: Sequence[Segment]) -> Sequence[Segment]:
    """The segments at the size they were found at: what is the same at any size is cheaper to ask there."""
    return segments.reduced if isinstance(segments, Enlarged) else segments


def picked(segments: Sequence[Segment], places: Sequence[int]) -> Sequence[Segment]:
    """The segments at these places, in this order; those that are enlarged when they are taken still are."""
    if isinstance(segments, Enlarged):
        return Enlarged(picked(segments.reduced, places), segments.image_size)
    return tuple(segments[place] for place in places)


def _repeated(segment: Segment, image_size: tuple[int, int]) -> Segment:
    """Enlarged by the nearest pixel."""
    (height, width), (rows, columns) = image_size, segment.image_size
    box = segment.box
    x1, x2 = (-(-x * width // columns) for x in (box.x1, box.x2))
    y1, y2 = (-(-y * height // rows) for y in (box.y1, box.y2))
    down = np.arange(y1, y2) * rows // height - box.y1
    across = np.arange(x1, x2) * columns // width - box.x1
    patch = segment.patch[down[:, None], across]
    return replace(segment, patch=patch, box=Box(x1, y1, x2, y2), image_size=image_size)


class _Span(NamedTuple):
    """One axis of a resampling: the pixels to make, and the source pixels these depend on.

    near, far: the made pixels' extent, in source pixels from ``start``.
    """

    out_start: int
    out_to: int
    start: int
    to: int
    near: float
    far: float

    @classmethod
    def of(cls, first: int, end: int, old: int, new: int) -> _Span:
        """The span that holds everything the source pixels ``first`` to ``end`` (exclusive) reach."""
        scale = old / new
        support = max(1.0, scale)
        out_start, out_to = max(0, floor((first - support) / scale)), min(new, ceil((end + support) / scale))
        near, far = out_start * scale, min(float(old), out_to * scale)
        start, to = max(0, floor(near - support)), min(old, ceil(far + support))
        return cls(out_start, out_to, start, to, near - start, far - start)


def _shifted(box: Box, x: int, y: int) -> Box:
    return Box(box.x1 - x, box.y1 - y, box.x2 - x, box.y2 - y)


def _part(segment: Segment, box: Box) -> Mask:
    return segment.patch[_shifted(box, segment.box.x1, segment.box.y1).slices]


def _is_code_of(counts: str | bytes, mask: NDArray[np.bool_]) -> bool:
    """Whether encoding gives ``counts`` back; of a code too short, pycocotools leaves pixels unset."""
    return bool(encode_rle(mask)["counts"] == (counts if isinstance(counts, str) else counts.decode("ascii")))


def _check_same_size(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    if a != b:
        raise UsageError(f"masks of sizes {a} and {b} cannot be compared; bring both to one picture size")
