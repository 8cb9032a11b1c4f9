from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from fakes import segment_from
from hypothesis import given

from slip.pipeline.nested import NESTED_ODDS, NESTED_SHARE, settle_nested


def square(side, at=0):
    mask = np.zeros((40, 40), bool)
    mask[at : at + side, at : at + side] = True
    return segment_from(mask)


def winner(odds, segments):
    settled = settle_nested(np.array(odds), segments)
    assert settled.max() == pytest.approx(max(odds), abs=1e-12)
    return int(settled.argmax())


def test_a_part_gives_way_to_the_whole_that_fits_about_as_well():
    part, whole, elsewhere = square(5, at=3), square(20), square(15, at=25)
    assert winner([2.0, 1.5, -1.0], [part, whole, elsewhere]) == 1
    assert winner([1.5, 2.0, -1.0], [whole, part, elsewhere]) == 0
    assert winner([2.0, 1.9], [part, elsewhere]) == 0


def test_a_whole_that_fits_better_or_much_worse_changes_nothing():
    segments = [square(5, at=3), square(20)]
    for odds in ([1.5, 2.0], [2.0, 2.0 - NESTED_ODDS - 0.01]):
        given_odds = np.array(odds)
        assert settle_nested(given_odds, segments) is given_odds


def test_of_several_wholes_the_largest_wins():
    assert winner([2.0, 1.8, 1.2, 0.5], [square(5), square(10), square(20), square(40)]) == 2


def test_what_only_reaches_into_another_is_not_nested():
    shift = 20 - round(20 * NESTED_SHARE) + 1
    assert winner([2.0, 1.9], [square(20), square(30, at=shift)]) == 0


def test_equal_masks_stay_in_their_order():
    assert winner([2.0, 2.0], [square(7), square(7)]) == 0


@given(st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_it_is_the_rule_as_it_is_stated(count, seed):
    random = np.random.default_rng(seed)
    masks = [random.random((6, 6)) < random.uniform(0.1, 1) for _ in range(count)]
    masks = [mask | (np.arange(36).reshape(6, 6) == 0) for mask in masks]
    odds = random.uniform(-2, 2, count).round(1)
    settled = settle_nested(odds, [segment_from(mask) for mask in masks])
    assert settled.shape == odds.shape
    if not count:
        return
    best = int(odds.argmax())
    wholes = [
        index
        for index, mask in enumerate(masks)
        if mask.sum() > masks[best].sum()
        and (mask & masks[best]).sum() > NESTED_SHARE * masks[best].sum()
        and odds[index] >= odds[best] - NESTED_ODDS
    ]
    expected = max(wholes, key=lambda index: masks[index].sum(), default=best)
    assert settled.argmax() == expected
    others = np.arange(count) != expected
    assert (settled[others] == odds[others]).all()
