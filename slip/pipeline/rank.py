"""Stage 4b: order the segments by how well they match the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from slip.errors import UsageError
from slip.masks import Enlarged, as_searched
from slip.pipeline.score import LogOdds, to_score
from slip.types import Segment


class Ranking(NamedTuple):
    """Segments with their scores, the best first.

    scores: 0 to 1, in the order of ``segments``. order: where each of them stood before. odds: the
    log-odds behind the scores, in the order of ``segments``.
    """

    segments: Sequence[Segment]
    scores: tuple[float, ...]
    order: tuple[int, ...]
    odds: tuple[float, ...]


def rank_segments(segments: Sequence[Segment], odds: LogOdds) -> Ranking:
    """The segments with their scores, the highest first.

    odds: ``float64 (N,)``, the log-odds of each segment. Equal ones stay in the given order; unequal
    ones are told apart also where their scores are both rounded to 1.

    Raises UsageError where the lengths differ.
    """
    if odds.shape != (len(segments),):
        raise UsageError(f"{len(segments)} segments have log-odds of shape {odds.shape}; give one for each")
    order = np.argsort(-odds, kind="stable").tolist()
    scores = to_score(odds)[order].tolist()
    found = as_searched(segments)
    ranked: Sequence[Segment] = tuple(
        found[index].scored(score) for index, score in zip(order, scores, strict=True)
    )
    if isinstance(segments, Enlarged):
        ranked = Enlarged(ranked, segments.image_size)
    return Ranking(ranked, tuple(scores), tuple(order), tuple(odds[order].tolist()))
