"""Stage 4b: where a whole and a part of it fit the text about as well, the whole is the answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slip.masks import intersection
from slip.pipeline.score import LogOdds
from slip.types import Segment

NESTED_SHARE = 0.95
"""A segment lies in another that covers more than this share of it."""

NESTED_ODDS = 1.0
"""Log-odds that the larger one may be behind (``python -m benchmarks.ranking`` shows what it brings)."""


def settle_nested(odds: LogOdds, segments: Sequence[Segment]) -> LogOdds:
    """The log-odds of segments of one picture, with a tie between nested ones settled for the best.

    The best segment gives way to one that it lies in, if there is one at most NESTED_ODDS behind: to the
    largest, which is lifted just above it. Nothing else changes, and never the highest odds by more
    than rounding. Of equally good segments the first given counts as the best.

    odds: ``float64 (N,)``, of the N segments.
    """
    if len(segments) < 2:
        return odds
    best = int(odds.argmax())
    inner = segments[best]
    close = [index for index in np.flatnonzero(odds >= odds[best] - NESTED_ODDS).tolist() if index != best]
    around = [index for index in close if _lies_in(inner, segments[index])]
    if not around:
        return odds
    settled: LogOdds = odds.copy()
    settled[max(around, key=lambda index: segments[index].area)] = np.nextafter(odds[best], np.inf)
    return settled


def _lies_in(inner: Segment, outer: Segment) -> bool:
    return outer.area > inner.area and intersection(inner, outer) > NESTED_SHARE * inner.area
