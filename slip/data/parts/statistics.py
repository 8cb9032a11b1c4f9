"""What a set of parts holds, in numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Protocol, runtime_checkable

import numpy as np

from slip.data.parts.expressions import triples, wordings
from slip.data.parts.records import SIDES, Fault, Part, PartPicture, PartSet, Side
from slip.types import Progress

NAMED = 3
"""Faults of a kind that are named."""


@dataclass(frozen=True)
class SideCount:
    """How much there is of a side. triples: pictures with an expression and a mask."""

    side: Side
    pictures: int
    triples: int


@dataclass(frozen=True)
class PartCount:
    """How often a part is there. pictures: by side, those without it included as 0.

    share: median share of the picture that it covers where it is, 0 to 1.
    wordings: how to ask for it, in one of its pictures.
    """

    part: Part
    pictures: Mapping[Side, int]
    share: float
    wordings: tuple[str, ...]


@dataclass(frozen=True)
class FaultCount:
    """How often a kind of fault is there, and the first places in the order of their names."""

    kind: str
    count: int
    first: tuple[str, ...]


@dataclass(frozen=True)
class Statistics:
    """The numbers of a set: every side, also an empty one, every part, every kind of fault."""

    sides: tuple[SideCount, ...]
    parts: tuple[PartCount, ...]
    faults: tuple[FaultCount, ...]


@runtime_checkable
class Measured(Protocol):
    """A set that knows the sizes of parts without decoding anything."""

    def shares(self, picture: PartPicture) -> Mapping[Part, float]:
        """The share of the picture that each of its parts covers, 0 to 1."""
        ...


def part_statistics(data: PartSet, progress: Progress | None = None) -> Statistics:
    """Count a set. progress: called as ``progress("measure", done, total)``. Raises ImageError."""
    pictures = {side: data.pictures(side) for side in SIDES}
    shares: dict[Part, list[float]] = defaultdict(list)
    count: dict[Part, dict[Side, int]] = {part: dict.fromkeys(SIDES, 0) for part in data.parts}
    subjects: dict[Part, str] = {}
    every = [picture for side in SIDES for picture in pictures[side]]
    for done, picture in enumerate(every, 1):
        for part, share in _shares(data, picture).items():
            shares[part].append(share)
            count[part][picture.side] += 1
            subjects.setdefault(part, picture.subject)
        if progress:
            progress("measure", done, len(every))
    return Statistics(
        tuple(SideCount(side, len(pictures[side]), len(triples(pictures[side]))) for side in SIDES),
        tuple(
            PartCount(part, own, median(shares[part]), wordings(part, subjects[part]))
            for part, own in count.items()
            if shares[part]
        ),
        fault_counts(data.faults),
    )


def fault_counts(faults: Iterable[Fault]) -> tuple[FaultCount, ...]:
    """The faults by kind, the most frequent first, of equals by name."""
    places: dict[str, list[str]] = defaultdict(list)
    for fault in faults:
        places[fault.kind].append(fault.where)
    counts = [FaultCount(kind, len(own), tuple(sorted(own)[:NAMED])) for kind, own in places.items()]
    return tuple(sorted(counts, key=lambda fault: (-fault.count, fault.kind)))


def _shares(data: PartSet, picture: PartPicture) -> Mapping[Part, float]:
    if isinstance(data, Measured):
        return data.shares(picture)
    _, masks = data.load(picture)
    return {part: float(np.count_nonzero(mask) / mask.size) for part, mask in masks.items()}
