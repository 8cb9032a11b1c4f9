"""From COCO's segmentations, polygons or run-length codes, to masks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from slip.types import Mask

MAX_LENGTH = 1e6
"""Pixels along the outline of a polygon; rasterising one takes memory by its length."""

Size = tuple[int, int]
"""(height, width) in pixels."""


def rasterise(segmentation: Any, size: Size) -> tuple[bytes | None, list[str]]:
    """The compressed run-length code of a segmentation in a picture of ``size``, and what is wrong with it.

    segmentation: whatever a file of annotations holds: a list of polygons, each x, y, x, y, ..., or a
    run-length code, compressed or not. A polygon that cannot be used is left out, the others are kept.
    None where no pixel is left.
    """
    if isinstance(segmentation, dict):
        codes, faults = _of_code(segmentation, size)
    elif isinstance(segmentation, list) and segmentation:
        codes, faults = _of_polygons(segmentation, size)
    else:
        return None, ["no segmentation"]
    merged = union(codes, size)
    if codes and merged is None:
        faults.append("empty mask")
    return merged, faults


def union(codes: Iterable[bytes], size: Size) -> bytes | None:
    """The code of all pixels that any of the codes holds; None where there is none."""
    merged = coco.merge([_code(counts, size) for counts in codes])
    return bytes(merged["counts"]) if merged.get("counts") and coco.area(merged) else None


def decode(counts: bytes, size: Size) -> Mask:
    """The mask of a code, ``bool (H, W)``, C order, the caller's own."""
    mask: Mask = np.ascontiguousarray(coco.decode(_code(counts, size))).astype(bool)
    return mask


def area(counts: bytes, size: Size) -> int:
    """Pixels in the mask of a code."""
    return int(coco.area(_code(counts, size)))


def _code(counts: bytes, size: Size) -> dict[str, Any]:
    return {"size": list(size), "counts": counts}


def _of_code(code: dict[str, Any], size: Size) -> tuple[list[bytes], list[str]]:
    counts = code.get("counts")
    runs = runs_of(counts) if isinstance(counts, str) else counts
    if code.get("size") != list(size) or not _fill(runs, size):
        return [], ["broken RLE"]
    mask = coco.decode(coco.frPyObjects({"size": list(size), "counts": runs}, *size))
    return [bytes(coco.encode(mask)["counts"])], []


def runs_of(counts: str) -> list[int] | None:
    """The runs of a compressed code, as COCO's own decoder gives them; None for a text that is no code.

    That one reads beyond the end of a text whose last run is cut off, so it gets none of them. A run is
    a number of 5 bits a letter, the lowest first, bit 6 for "goes on", signed; from the fourth run on it
    is the difference to the last but one.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in counts:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return None if shift else runs


def _fill(runs: Any, size: Size) -> bool:
    """Whether it is a list of whole numbers, none of them negative, that make up a picture."""
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        return False
    return sum(runs) == size[0] * size[1]


def _of_polygons(polygons: list[Any], size: Size) -> tuple[list[bytes], list[str]]:
    codes, faults = [], []
    for polygon in polygons:
        wrong = fault_of(polygon)
        if wrong:
            faults.append(wrong)
        else:
            codes += [bytes(code["counts"]) for code in coco.frPyObjects([polygon], *size)]
    return codes, faults


def fault_of(polygon: Any) -> str | None:
    """Why a polygon cannot be rasterised; None where it can."""
    if not isinstance(polygon, list) or not all(type(number) in (int, float) for number in polygon):
        return "polygon without numbers"
    if len(polygon) < 6:
        return "short polygon"
    if len(polygon) % 2:
        return "odd polygon"
    try:
        numbers = np.array(polygon, np.float64)
    except OverflowError:
        return "polygon not finite"
    if not np.isfinite(numbers).all():
        return "polygon not finite"
    return "endless polygon" if _length(numbers.reshape(-1, 2)) > MAX_LENGTH else None


def _length(points: NDArray[np.float64]) -> float:
    """Pixels along the outline from the origin on: what is far outside the picture counts as long."""
    with np.errstate(over="ignore"):
        steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum()
        return float(max(steps, np.abs(points).max()))
