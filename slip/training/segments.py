"""The segments that a proposer finds in labelled pictures: what CLIP will be shown, to learn from.

Pictures are searched four at a time, as a sheet of two by two: small pictures need no more
resolution than that, and segments end at other pictures as they do in the evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from slip.data.pictures import Picture, PictureSet
from slip.data.splits import Split
from slip.errors import OutputError, UsageError
from slip.masks import decode_rle, encode_rle, resize_segment, segment_of
from slip.options import OVERLAP
from slip.outputs import write_file
from slip.pipeline.overlap import drop_overlaps
from slip.pipeline.propose import propose_segments
from slip.training.distributed import Ranks
from slip.training.loop import Watch
from slip.training.run import Run
from slip.types import Image, Progress, Proposer, Segment

INSIDE = 0.9
"""A segment belongs to a picture of the sheet that holds this share of it."""
LEAST, MOST = 0.03, 0.95
"""Shares of the picture that a segment may cover."""
SEED = 5


def find_segments(
    data: PictureSet,
    pictures: Sequence[Picture],
    proposer: Proposer,
    path: Path,
    progress: Progress | None = None,
) -> dict[str, tuple[Segment, ...]]:
    """The segments of each picture, by its name; kept in ``path``, a JSON object a line.

    What ``path`` holds already is not searched again, so an interrupted search goes on.
    Raises UsageError for a file that holds something else, ImageError, OutputError.
    """
    held = _mended(path) if path.exists() else {}
    order = np.random.default_rng(SEED).permutation(len(pictures))
    missing = [pictures[index] for index in order if pictures[index].name not in held]
    for start in range(0, len(missing), 4):
        if progress:
            progress("find segments", len(pictures) - len(missing) + start, len(pictures))
        sheet = missing[start : start + 4]
        found = _search([data.load(picture)[0] for picture in sheet], proposer)
        new = {picture.name: segments for picture, segments in zip(sheet, found, strict=True)}
        _append(path, new)
        held |= new
    return held


def segments_for(
    data: PictureSet, split: Split, proposer: Proposer | None, run: Run, ranks: Ranks, watch: Watch
) -> dict[str, tuple[Segment, ...]]:
    """The segments of the training pictures, kept in the run's folder; none without a proposer."""
    if proposer is None:
        return {}
    return ranks.told(lambda: find_segments(data, split.train, proposer, run.segments, watch.stage))


def read_segments(path: Path) -> dict[str, tuple[Segment, ...]]:
    """What ``find_segments`` wrote; a last line that was cut off is left out. Raises UsageError."""
    lines = path.read_bytes().split(b"\n")[:-1]
    try:
        return dict(_decode(json.loads(line)) for line in lines)
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{str(path)!r} holds no segments; remove it or name another run") from None


def _mended(path: Path) -> dict[str, tuple[Segment, ...]]:
    """What is held; a line that was cut off is taken out, to be written again."""
    held = read_segments(path)
    whole, _, broken = path.read_bytes().rpartition(b"\n")
    if broken:
        write_file(path, whole + b"\n" if whole else b"", overwrite=True)
    return held


def _search(images: Sequence[Image], proposer: Proposer) -> Iterator[tuple[Segment, ...]]:
    tile = max(proposer.image_size // 2, 1)
    sheet = np.full((2 * tile, 2 * tile, 3), 255, np.uint8)
    corners = [(y, x) for y in (0, tile) for x in (0, tile)]
    for image, (y, x) in zip(images, corners, strict=False):
        sheet[y : y + tile, x : x + tile] = cv2.resize(image, (tile, tile), interpolation=cv2.INTER_AREA)
    segments = drop_overlaps(propose_segments(proposer, sheet), OVERLAP)
    masks = [segment.mask for segment in segments]
    for image, (y, x) in zip(images, corners, strict=False):
        own = []
        for mask in masks:
            inside = mask[y : y + tile, x : x + tile]
            area = int(inside.sum())
            if area >= INSIDE * mask.sum() and LEAST <= area / tile**2 <= MOST:
                segment = segment_of(inside)
                own.append(resize_segment(segment, image.shape[:2]) if segment else None)
        yield tuple(segment for segment in own if segment is not None)


def _append(path: Path, found: Mapping[str, Sequence[Segment]]) -> None:
    lines = [
        json.dumps({"name": name, "segments": [encode_rle(segment.mask) for segment in segments]})
        for name, segments in found.items()
    ]
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise OutputError(
            f"cannot write {str(path)!r}: {error.strerror or error}; make room, then go on with --resume"
        ) from None


def _decode(line: dict[str, Any]) -> tuple[str, tuple[Segment, ...]]:
    segments = (segment_of(decode_rle(rle)) for rle in line["segments"])
    return str(line["name"]), tuple(segment for segment in segments if segment is not None)
