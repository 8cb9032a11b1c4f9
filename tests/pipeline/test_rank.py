from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from fakes import segment_from
from hypothesis import given

from slip.errors import UsageError, WeightsError
from slip.pipeline.rank import rank_segments


def some_segments(count):
    return [segment_from(np.ones((1, index + 1), bool)) for index in range(count)]


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_the_highest_cosine_comes_first():
    segments = some_segments(3)
    ranked = rank_segments(segments, unit([[0, 1], [1, 0], [1, 1]]), unit([1, 0]))
    assert [segment.area for segment in ranked] == [2, 3, 1]
    assert [segment.score for segment in ranked] == pytest.approx([1, 0.5**0.5, 0])
    assert all(type(segment.score) is float for segment in ranked)
    assert all(segment.score is None for segment in segments)


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(0, 2**32 - 1))
def test_ties_keep_the_order_given(kinds, seed):
    """Equal rows are ties to the bit, wherever they stand in the batch."""
    rows = unit(np.random.default_rng(seed).standard_normal((4, 37)))
    ranked = rank_segments(some_segments(len(kinds)), rows[kinds].reshape(-1, 37), rows[3])
    best_first = sorted(range(3), key=lambda kind: -np.dot(rows[kind].astype(float), rows[3].astype(float)))
    expected = sorted(range(len(kinds)), key=lambda index: best_first.index(kinds[index]))
    assert [segment.area - 1 for segment in ranked] == expected
    assert len({segment.score for segment in ranked}) == len(set(kinds))


def test_scores_stay_within_the_range_of_a_cosine():
    row = np.full(3, 0.57735032, np.float32)  # a little longer than a unit vector
    (segment,) = rank_segments(some_segments(1), row[None], row)
    assert segment.score == 1


def test_no_segments_give_none():
    assert rank_segments([], np.zeros((0, 4), np.float32), unit([1, 0, 0, 0])) == ()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad):
    good, broken = unit([[1, 0]]), np.array([[bad, 0]], np.float32)
    with pytest.raises(WeightsError, match="NaN or infinity.*fp32"):
        rank_segments(some_segments(1), broken, good[0])
    with pytest.raises(WeightsError, match="NaN or infinity"):
        rank_segments(some_segments(1), good, broken[0])


@pytest.mark.parametrize("images, text", [((2, 4), (4,)), ((3, 4), (5,)), ((3, 4), (1, 4))])
def test_shapes_that_do_not_fit_are_refused(images, text):
    with pytest.raises(UsageError, match="do not fit 3 segments"):
        rank_segments(some_segments(3), np.zeros(images, np.float32), np.zeros(text, np.float32))
