from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from fakes import segment_from
from hypothesis import given
from hypothesis.extra.numpy import arrays

from slip.errors import UsageError
from slip.masks import Enlarged
from slip.pipeline.rank import rank_segments


def some_segments(count):
    return [segment_from(np.ones((1, index + 1), bool)) for index in range(count)]


def test_the_highest_odds_come_first():
    segments = some_segments(3)
    ranking = rank_segments(segments, np.array([0.0, 2.0, 1.0]))
    assert [segment.area for segment in ranking.segments] == [2, 3, 1]
    assert ranking.order == (1, 2, 0)
    assert ranking.odds == (2.0, 1.0, 0.0)
    assert ranking.scores == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-1)), 0.5])
    assert [segment.score for segment in ranking.segments] == list(ranking.scores)
    assert all(type(score) is float for score in ranking.scores)
    assert all(segment.score is None for segment in segments)


@given(arrays(float, st.integers(0, 30), elements=st.floats(-800, 800)))
def test_the_order_is_that_of_the_odds_and_ties_stay(odds):
    ranking = rank_segments(some_segments(len(odds)), odds)
    assert ranking.order == tuple(sorted(range(len(odds)), key=lambda index: -odds[index]))
    assert [segment.area - 1 for segment in ranking.segments] == list(ranking.order)
    assert all(0 <= score <= 1 for score in ranking.scores)


def test_what_is_rounded_to_one_is_still_told_apart():
    ranking = rank_segments(some_segments(2), np.array([100.0, 200.0]))
    assert ranking.scores == (1.0, 1.0)
    assert ranking.order == (1, 0)


def test_no_segments_give_none():
    assert rank_segments([], np.zeros(0)) == ((), (), (), ())


def test_reduced_segments_are_ranked_without_being_enlarged(monkeypatch):
    monkeypatch.setattr(Enlarged, "__getitem__", lambda *_: pytest.fail("enlarged"))
    reduced = [segment_from(np.eye(4, dtype=bool)), segment_from(np.ones((4, 4), bool))]
    ranking = rank_segments(Enlarged(reduced, (4000, 4000)), np.array([1.0, 2.0]))
    monkeypatch.undo()
    assert ranking.segments[0].area == 4000 * 4000
    assert ranking.segments[0].score == ranking.scores[0]


def test_odds_for_other_segments_are_refused():
    with pytest.raises(UsageError, match="give one for each"):
        rank_segments(some_segments(3), np.zeros(2))
