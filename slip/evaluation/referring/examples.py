"""Answers as pictures, for people to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slip.data.parts import PartPicture, PartSet
from slip.drawing import overlay
from slip.evaluation.referring.answers import Answer
from slip.images import encode_jpeg, resize
from slip.masks import decode_rle, resize_segment, segment_of
from slip.types import Image, Mask, Segment

SIDE = 320
"""Longest side of the pictures in pixels."""
MOST_PICTURES, MOST_OF_A_KIND = 120, 6
"""Of all kinds together, and triples of each: what keeps a report at a few megabytes."""
TRUTH = (86, 180, 233)
"""Sky blue, which colour-blind readers can tell from the amber of answers."""


@dataclass(frozen=True)
class Example:
    """A triple: the picture with the true outline, and every method's answer lit; JPEG files."""

    answers: tuple[Answer, ...]
    truth: bytes
    shown: tuple[bytes, ...]


@dataclass(frozen=True, eq=False)
class Gallery:
    """Draws answers of one evaluation."""

    pictures: Iterable[PartPicture]
    source: PartSet

    def of(self, answers: Mapping[str, Sequence[Answer]]) -> dict[str, list[Example]]:
        """Some triples of each kind, no two of a kind in one picture. answers: those of each method.

        Raises ImageError where a picture of them cannot be read any more.
        """
        rows = [tuple(row) for row in zip(*map(_in_order, answers.values()), strict=True)]
        first = next(iter(answers))
        pictures = {picture.name: picture for picture in self.pictures}
        kinds = choose(rows, first)
        most = max(1, min(MOST_OF_A_KIND, MOST_PICTURES // (len(kinds) * (1 + len(answers)))))
        return {
            kind: [self.draw(pictures[row[0].picture], row) for row in _apart(ranked)[:most]]
            for kind, ranked in kinds.items()
        }

    def draw(self, picture: PartPicture, answers: tuple[Answer, ...]) -> Example:
        """One triple as pictures. Raises ImageError where the picture cannot be read any more."""
        image, masks = self.source.load(picture)
        [truth] = [mask for part, mask in masks.items() if part.category == answers[0].part]
        height, width = image.shape[:2]
        scale = SIDE / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        small = resize(image, size[1], size[0])
        edge = _edge(_resized(segment_of(truth), size))
        shown = []
        for one in answers:
            segment = segment_of(decode_rle(one.rle)) if one.rle else None
            lit = resize_segment(segment, size) if segment else None
            shown.append(encode_jpeg(_outlined(overlay(small, lit) if lit else small // 2, edge)))
        return Example(answers, encode_jpeg(_outlined(small, edge)), tuple(shown))


def choose(rows: Sequence[tuple[Answer, ...]], first: str) -> dict[str, list[tuple[Answer, ...]]]:
    """Triples, each with the answers of all methods in one order, by what is to be seen in them.

    The first of each list show it best. first: the method that best, median and worst are told by.
    """
    by_first = sorted(rows, key=lambda row: (-row[0].iou, row[0].key))
    middle = by_first[len(by_first) // 2][0].iou if by_first else 0.0
    kinds = {
        f"best of {first}": by_first,
        f"around the median of {first}": sorted(rows, key=lambda row: (abs(row[0].iou - middle), row[0].key)),
        f"worst of {first}": sorted(rows, key=lambda row: (row[0].iou, -row[0].truth, row[0].key)),
    }
    if rows and len(rows[0]) > 1:
        kinds["where methods disagree most"] = sorted(rows, key=lambda row: (-_spread(row), row[0].key))
    return kinds


def _spread(row: tuple[Answer, ...]) -> float:
    ious = [one.iou for one in row]
    return max(ious) - min(ious)


def _in_order(answers: Sequence[Answer]) -> list[Answer]:
    return sorted(answers, key=lambda one: one.key)


def _apart(rows: Sequence[tuple[Answer, ...]]) -> list[tuple[Answer, ...]]:
    """The first row of each picture."""
    seen: dict[str, tuple[Answer, ...]] = {}
    for row in rows:
        seen.setdefault(row[0].picture, row)
    return list(seen.values())


def _resized(segment: Segment | None, size: tuple[int, int]) -> Mask:
    """The mask at another size; empty where nothing is left."""
    small = resize_segment(segment, size) if segment else None
    return small.mask if small else np.zeros(size, bool)


def _edge(mask: Mask) -> Mask:
    """The pixels of a mask that are near its border, two deep."""
    inner = mask
    for _ in range(2):
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: Mask = mask & ~inner
    return edge


def _outlined(image: Image, edge: Mask) -> Image:
    """A copy of the picture with the truth's border on it."""
    drawn: Image = image.copy()
    drawn[edge] = TRUTH
    return drawn
