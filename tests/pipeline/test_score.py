from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from fakes import segment_from
from hypothesis import given

from slip.errors import UsageError, WeightsError
from slip.pipeline.score import log_odds, quality_prior, to_score

NONE = np.zeros((0, 2), np.float32)


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def softmax_share(images, prompt, negatives, scale, floor):
    """The plain reference: a softmax over all texts and the floor."""
    logits = [scale * float(np.dot(images.astype(float), text)) for text in (prompt, *negatives)]
    shares = np.exp(np.array([*logits, floor]) - max(*logits, floor))
    return shares[0] / shares.sum()


@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.floats(1, 100), st.floats(-20, 40))
def test_a_score_is_the_share_in_a_softmax(seed, count, scale, floor):
    rng = np.random.default_rng(seed)
    images, prompt = unit(rng.standard_normal((4, 8))), unit(rng.standard_normal(8))
    negatives = unit(rng.standard_normal((count, 8))).reshape(count, 8)
    scores = to_score(log_odds(images, prompt, negatives, scale, floor))
    expected = [softmax_share(image, prompt, negatives, scale, floor) for image in images]
    assert scores == pytest.approx(expected, abs=1e-9)


def test_a_negative_takes_from_what_resembles_it():
    images, prompt = unit([[1, 0], [0.6, 0.8]]), unit([1, 1])
    alone = log_odds(images, prompt, NONE, 10, 0)
    against = log_odds(images, prompt, unit([[0, 1]]), 10, 0)
    assert alone[0] - against[0] < alone[1] - against[1]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_equal_rows_have_equal_odds_to_the_bit(kinds, seed):
    rows = unit(np.random.default_rng(seed).standard_normal((5, 37)))
    odds = log_odds(rows[kinds], rows[3], rows[4:], 100, 1)
    assert all(len({odds[i] for i in range(len(kinds)) if kinds[i] == kind}) <= 1 for kind in range(3))


def test_far_odds_are_scores_of_zero_and_one_without_a_warning():
    with np.errstate(all="raise", under="ignore"):
        assert to_score(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_the_prior_is_the_logarithm_of_sams_trust():
    mask = np.ones((2, 2), bool)
    trusted = [segment_from(mask, 0.5, 0.5), segment_from(mask, 1.0, 1.0), segment_from(mask, -0.1, 0.9)]
    assert quality_prior(trusted) == pytest.approx([math.log(0.25), 0, math.log(1e-3)])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad):
    good, broken = unit([[1, 0]]), np.array([[bad, 0]], np.float32)
    for features in ((broken, good[0], NONE), (good, broken[0], NONE), (good, good[0], broken)):
        with pytest.raises(WeightsError, match="NaN or infinity.*fp32"):
            log_odds(*features, 1, 0)


@pytest.mark.parametrize(
    "images, prompt, negatives", [((2, 4), (5,), (0, 4)), ((3, 4), (1, 4), (0, 4)), ((3, 4), (4,), (2, 5))]
)
def test_shapes_that_do_not_fit_are_refused(images, prompt, negatives):
    with pytest.raises(UsageError, match="do not fit"):
        log_odds(*(np.zeros(shape, np.float32) for shape in (images, prompt, negatives)), 1, 0)
