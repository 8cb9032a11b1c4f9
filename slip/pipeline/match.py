"""After ranking: several prompts on one picture share its segments out among them.

The functions work on the predictions of one ``Proposals``, in which ``Prediction.order`` says which
of its segments is which. All that reach the threshold of one prompt are ``Prediction.matches``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from slip.errors import UsageError
from slip.masks import picked
from slip.types import Prediction, log_odds_of

_NO_MATCH = -1e-9
"""What a prompt gains from a segment below its threshold: less than from any other, by almost nothing."""


@dataclass(frozen=True)
class Label:
    """What a segment is called.

    index: the segment's place in the proposals. score: of the best prompt, 0 to 1.
    prompt: the best prompt; None where the segment reaches the threshold of none.
    """

    index: int
    prompt: str | None
    score: float


def assign_one_to_one(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Each prompt with a segment of its own: of all such assignments, the one that gains most.

    A prompt gains the log-odds of its segment above those of its ``min_score``, or nothing without a
    match: so a thing that is not there takes no segment away from one that is.

    predictions: of one ``Proposals``. The result has one for each, in their order, with one segment: the
    assigned one, or for a prompt without a match the best of those left over, which is below the
    threshold; none where none is left.

    Raises UsageError for predictions of different proposals.
    """
    if not predictions:
        return []
    from scipy.optimize import linear_sum_assignment

    scores, odds = _tables(predictions)
    least = np.array([[prediction.min_score] for prediction in predictions])
    matches = scores >= least
    bar = np.array([[log_odds_of(prediction.min_score)] for prediction in predictions])
    gain = np.where(matches, odds - bar, _NO_MATCH)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    given = {row: column for row, column in zip(rows, columns, strict=True) if matches[row, column]}
    taken = set(given.values())
    return [
        _best_of(prediction, {given[row]} if row in given else set(prediction.order) - taken)
        for row, prediction in enumerate(predictions)
    ]


def label_all(predictions: Sequence[Prediction]) -> list[Label]:
    """What each segment is called, in the order of the proposals: the prompt it scores highest for.

    Only prompts whose ``min_score`` it reaches can name a segment; of equal scores the first given does.
    predictions: of one ``Proposals``. Raises UsageError for those of different proposals.
    """
    if not predictions:
        return []
    scores, odds = _tables(predictions)
    matches = scores >= np.array([[prediction.min_score] for prediction in predictions])
    named = np.logical_or.reduce(matches, axis=0)
    best = np.where(named, np.where(matches, odds, -np.inf).argmax(axis=0), odds.argmax(axis=0))
    return [
        Label(index, predictions[row].prompt if named[index] else None, float(scores[row, index]))
        for index, row in enumerate(best)
    ]


def _tables(predictions: Sequence[Prediction]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores and log-odds of each segment for each prompt, ``(P, N)`` in the order of the proposals."""
    count = len(predictions[0].order)
    scores, odds = np.empty((2, len(predictions), count))
    for row, prediction in enumerate(predictions):
        same_size = prediction.image_size == predictions[0].image_size
        if not same_size or sorted(prediction.order) != list(range(count)):
            raise UsageError("the predictions are of different proposals; rank all prompts on the same ones")
        places = list(prediction.order)
        scores[row, places], odds[row, places] = prediction.scores, prediction.odds
    return scores, odds


def only(prediction: Prediction, places: Sequence[int]) -> Prediction:
    """The prediction with the segments alone that stand at these places of its ranking."""
    return replace(
        prediction,
        segments=picked(prediction.segments, places),
        scores=tuple(prediction.scores[place] for place in places),
        order=tuple(prediction.order[place] for place in places),
        odds=tuple(prediction.odds[place] for place in places),
    )


def _best_of(prediction: Prediction, allowed: set[int]) -> Prediction:
    """The prediction with its best segment among ``allowed``, or with none."""
    places = (place for place, index in enumerate(prediction.order) if index in allowed)
    return only(prediction, list(islice(places, 1)))
