from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from fakes import ColourSet, FakeEncoder, FakeProposer
from hypothesis import given
from hypothesis.extra.numpy import arrays

from slip.models.scoring import from_json
from slip.training.calibrate import (
    FALSE_ACCEPTS,
    FALSE_REJECTS,
    PAIRS,
    auroc,
    calibrate,
    draw_line,
    draw_pairs,
    search_pairs,
)

some_odds = arrays(float, st.integers(1, 30), elements=st.floats(-50, 50).map(lambda value: round(value, 1)))


@given(some_odds, some_odds)
def test_the_area_is_the_share_of_pairs_in_the_right_order(present, absent):
    above, equal = present[:, None] > absent, present[:, None] == absent
    assert auroc(present, absent) == pytest.approx((above + equal / 2).mean())


@given(some_odds, some_odds)
def test_no_threshold_is_better_than_the_line(present, absent):
    def worse(threshold):
        accepts, rejects = (absent >= threshold).mean(), (present < threshold).mean()
        return max(accepts / FALSE_ACCEPTS, rejects / FALSE_REJECTS)

    line = draw_line(present, absent)
    assert line.false_accepts == pytest.approx((absent >= line.threshold).mean())
    assert line.false_rejects == pytest.approx((present < line.threshold).mean())
    assert worse(line.threshold) <= min(map(worse, [*present, *absent, 1e9])) + 1e-9
    assert line.pairs == len(present) + len(absent)


def test_pairs_are_of_pictures_that_show_several_things():
    """Thing i has odds 1 with its own prompt and 0 with the others; prompt 5 is never there."""
    true = np.arange(5).repeat(3)
    odds = np.eye(6)[true]
    present, absent = draw_pairs(odds, true)
    assert present.shape == absent.shape == (PAIRS,)
    assert (present == 1).all()
    assert (absent == 0).all()


def test_two_prompts_are_told_apart_one_thing_at_a_time():
    present, absent = draw_pairs(np.array([[2.0, -1.0], [-3.0, 4.0]]), np.array([0, 1]))
    assert set(present) == {2.0, 4.0}
    assert set(absent) == {-1.0, -3.0}


class SmallProposer(FakeProposer):
    """Composites of this size show the pictures of ColourSet pixel for pixel."""

    image_size = 32


def test_real_segments_tell_what_is_there():
    data = ColourSet(colours=("red", "green", "blue", "white", "teal"), count=2)
    present, absent = search_pairs(data, data.pictures, SmallProposer(), FakeEncoder())
    assert len(present) == 4 * len(absent)
    assert np.isfinite([*present, *absent]).all()


def test_a_single_prompt_is_never_absent_and_has_no_line():
    assert calibrate(*draw_pairs(np.ones((3, 1)), np.zeros(3, int))) == {}


def test_captions_that_are_all_there_have_no_line_by_search():
    data = ColourSet(colours=("red", "green", "blue", "white"), count=2)
    present, absent = search_pairs(data, data.pictures, SmallProposer(), FakeEncoder())
    assert len(present) and not len(absent)
    assert calibrate(present, absent) == {}


def test_the_line_becomes_the_floor():
    told = calibrate(np.array([5.0, 6.0, 7.0]), np.array([1.0, 2.0]))
    scoring = from_json(told["scoring"], None)
    assert 2 < scoring.floor < 5
    assert scoring.min_score == 0.5
    assert (scoring.templates, scoring.negatives) == (("{}",), ())
    assert told["presence"]["auroc"] == 1
    assert told["presence"]["false_accepts"] == told["presence"]["false_rejects"] == 0
