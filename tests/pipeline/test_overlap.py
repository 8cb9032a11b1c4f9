from __future__ import annotations

from typing import get_args

import hypothesis.strategies as st
import naive_overlap as naive
import numpy as np
import pytest
from fakes import segment_from
from hypothesis import given

from slip.errors import UsageError
from slip.options import NMS_IOU, PAPER_CONTAINMENT, Overlap
from slip.pipeline.overlap import METHODS, drop_overlaps

SIDE = 12


def rectangle(x1, y1, x2, y2, side=SIDE):
    mask = np.zeros((side, side), bool)
    mask[y1:y2, x1:x2] = True
    return mask


FRAME = rectangle(0, 0, SIDE, SIDE)


@st.composite
def a_mask(draw):
    """A rectangle, often frame-filling or large, with a few pixels flipped."""
    if draw(st.integers(0, 5)) == 0:
        return FRAME.copy()
    x1, y1 = draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE - 1))
    x2, y2 = draw(st.integers(x1 + 1, SIDE)), draw(st.integers(y1 + 1, SIDE))
    mask = rectangle(x1, y1, x2, y2)
    for y, x in draw(st.lists(st.tuples(st.integers(0, SIDE - 1), st.integers(0, SIDE - 1)), max_size=3)):
        mask[y, x] ^= True
    return mask if mask.any() else FRAME.copy()


@st.composite
def masks_and_qualities(draw):
    """Up to a dozen masks, repeats among them, with few distinct qualities so that ties are common."""
    distinct = draw(st.lists(a_mask(), max_size=8))
    repeats = draw(st.lists(st.sampled_from(distinct), max_size=4)) if distinct else []
    masks = draw(st.permutations(distinct + repeats))
    qualities = draw(st.lists(st.sampled_from([0.5, 0.9, 1.0]), min_size=len(masks), max_size=len(masks)))
    return np.array(masks, bool).reshape(-1, SIDE, SIDE), qualities


def segments_of(masks, qualities=None):
    qualities = qualities or [1.0] * len(masks)
    return [segment_from(mask, quality) for mask, quality in zip(masks, qualities, strict=True)]


def kept(masks, method, qualities=None):
    """Indices of the masks that the filter keeps, in the order of its result."""
    segments = segments_of(masks, qualities)
    return [next(i for i, s in enumerate(segments) if s is k) for k in drop_overlaps(segments, method)]


@given(masks_and_qualities())
def test_nms_equals_the_naive_filter(drawn):
    masks, qualities = drawn
    assert kept(masks, "nms", qualities) == naive.nms(masks, qualities, NMS_IOU)


@given(masks_and_qualities())
def test_paper_equals_the_naive_filter(drawn):
    masks, _ = drawn
    assert kept(masks, "paper") == naive.mended(masks, PAPER_CONTAINMENT)


@given(masks_and_qualities())
def test_paper_equals_the_published_filter_wherever_that_keeps_anything(drawn):
    masks, _ = drawn
    published = naive.published(masks, PAPER_CONTAINMENT)
    result = kept(masks, "paper")
    if published:
        assert result == published
    else:
        assert bool(result) == (len(masks) > 0)


@pytest.mark.parametrize("seed", range(3))
def test_both_equal_the_naive_filters_on_many_blobs(seed):
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96]
    masks = []
    for _ in range(60):
        cy, cx, ry, rx = *random.uniform(0, 96, 2), *np.exp(random.uniform(0.5, 4.5, 2))
        blob = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
        near = (y - cy + random.integers(-1, 2)) ** 2 / ry**2 + (x - cx) ** 2 / rx**2 <= 1
        masks += [mask for mask in (blob, near) if mask.any()]
    masks = np.array(masks)
    qualities = random.choice([0.88, 0.9, 0.95, 1.0], len(masks)).tolist()
    survivors = kept(masks, "nms", qualities)
    assert survivors == naive.nms(masks, qualities, NMS_IOU)
    assert len(survivors) < len(masks)
    assert kept(masks, "paper") == naive.mended(masks, PAPER_CONTAINMENT)


def test_nms_keeps_the_better_of_two_near_duplicates_and_the_order():
    masks = [rectangle(0, 0, 10, 9), rectangle(11, 0, 12, 2), rectangle(0, 0, 10, 10)]
    assert kept(masks, "nms", [0.9, 0.5, 1.0]) == [1, 2]
    assert kept(masks, "nms", [0.9, 0.5, 0.9]) == [0, 1]


def test_nms_weighs_stability_too():
    mask = rectangle(2, 2, 9, 9)
    shaky, sound = segment_from(mask, 1.0, 0.9), segment_from(mask, 0.97, 0.97)
    assert drop_overlaps([shaky, sound], "nms") == [sound]


def test_nms_keeps_parts_inside_wholes():
    assert kept([FRAME, rectangle(2, 2, 8, 8), rectangle(3, 3, 5, 5)], "nms") == [0, 1, 2]


def test_a_share_exactly_at_the_threshold_stays():
    whole, four_fifths = rectangle(0, 0, 10, 10), rectangle(0, 0, 10, 8)
    assert kept([whole, four_fifths], "nms") == [0, 1]
    band, four_fifths_inside, dot = rectangle(0, 0, 12, 4), rectangle(0, 0, 2, 5), rectangle(11, 11, 12, 12)
    assert kept([band, four_fifths_inside, dot], "paper") == [1, 2]


def test_paper_compares_with_dropped_masks_as_well():
    outer = rectangle(0, 0, 12, 6)
    middle = rectangle(0, 1, 10, 7)  # 50 of 60 pixels inside outer: dropped
    inner = rectangle(0, 5, 10, 7)  # 10 of 20 inside outer, all of it inside middle
    assert kept([outer, middle, inner, rectangle(11, 11, 12, 12)], "paper") == [3]


def test_paper_drops_the_largest_as_the_background():
    masks = [rectangle(0, 0, 3, 3), rectangle(0, 6, 12, 12), rectangle(6, 0, 11, 4)]
    assert kept(masks, "paper") == [2, 0]


def test_paper_sets_a_frame_aside_instead_of_returning_nothing():
    masks = [rectangle(1, 1, 5, 5), FRAME, rectangle(2, 2, 4, 4), rectangle(7, 7, 10, 10)]
    assert naive.published(np.array(masks), PAPER_CONTAINMENT) == []
    assert kept(masks, "paper") == [0, 3]


@pytest.mark.parametrize("method", get_args(Overlap))
def test_none_and_one_pass_every_filter(method):
    lone = segment_from(FRAME)
    assert drop_overlaps([], method) == []
    assert drop_overlaps([lone], method) == [lone]


def test_none_changes_nothing():
    segments = segments_of([FRAME, FRAME, rectangle(0, 0, 1, 1)])
    assert drop_overlaps(segments, "none") == segments


def test_the_table_agrees_with_the_options():
    assert tuple(METHODS) == get_args(Overlap)


def test_bad_values_are_named():
    with pytest.raises(UsageError, match="'soft' is not known; choose from nms, paper, none"):
        drop_overlaps([], "soft")
    with pytest.raises(UsageError, match="different sizes"):
        drop_overlaps([segment_from(FRAME), segment_from(rectangle(0, 0, 2, 2, side=20))], "nms")
