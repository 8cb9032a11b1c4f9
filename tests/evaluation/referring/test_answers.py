from __future__ import annotations

import json

import numpy as np
import pytest
from evaluation.referring.toys import NOTHING, RIGHT, naive_overlap
from fakes import segment_from
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from slip.data.parts import Part, PartPicture, Triple
from slip.errors import UsageError
from slip.evaluation.referring.answers import Answer, answer
from slip.masks import decode_rle
from slip.types import Prediction

WING = Part("bird wing", "wing", "bird")
TRIPLE = Triple(PartPicture("a.png", "test", "", (WING,)), WING, "bird wing")
MASKS = arrays(bool, (6, 9), elements=st.booleans()).filter(lambda mask: bool(mask.any()))


def box(x1: int, y1: int, x2: int, y2: int):
    mask = np.zeros((6, 9), bool)
    mask[y1:y2, x1:x2] = True
    return segment_from(mask)


TRUTH = box(0, 0, 4, 4)


def asked(*segments, best: int = 0) -> Answer:
    return answer(Prediction("bird wing", segments, (6, 9)), TRUTH, TRIPLE, "m", best=best)


def test_by_hand() -> None:
    told = asked(box(2, 0, 6, 4).scored(0.25))
    assert (told.intersection, told.union, told.truth) == (8, 24, 16)
    assert told.iou == 8 / (24 + 1e-6)
    assert (told.box, told.score, told.segments, told.found) == ((2, 0, 6, 4), 0.25, 1, True)
    assert (told.method, told.picture, told.part, told.expression) == ("m", "a.png", "bird wing", "bird wing")
    assert (decode_rle(told.rle) == box(2, 0, 6, 4).mask).all()


def test_nothing_found_is_worth_nothing() -> None:
    told = asked()
    assert (told.intersection, told.union, told.iou, told.found) == (0, 16, 0.0, False)
    assert (told.box, told.rle, told.score, told.segments) == (None, None, None, 0)


def test_the_highest_score_counts_whether_it_is_a_match_or_not() -> None:
    segments = box(4, 4, 9, 6).scored(0.4), TRUTH.scored(0.3)
    prediction = Prediction("bird wing", segments, (6, 9), min_score=0.5)
    assert not prediction.found
    told = answer(prediction, TRUTH, TRIPLE, "m")
    assert (told.score, told.iou, told.segments) == (0.4, 0.0, 2)


def test_an_upper_bound_takes_what_fits_best() -> None:
    segments = box(4, 4, 9, 6).scored(0.9), box(0, 0, 4, 3).scored(0.5), TRUTH.scored(0.1)
    assert asked(*segments, best=3).score == 0.1
    assert asked(*segments, best=99).iou == pytest.approx(1)
    assert asked(*segments, best=2).score == 0.5
    assert asked(*segments, best=1).iou == 0.0
    assert asked(*segments[:1] * 2, best=2).score == 0.9
    assert not asked(best=5).found


@given(MASKS, MASKS)
def test_pixels_are_those_of_a_naive_count(found: np.ndarray, truth: np.ndarray) -> None:
    prediction = Prediction("x", (segment_from(found),), (6, 9))
    told = answer(prediction, segment_from(truth), TRIPLE, "m")
    both, either = naive_overlap(found, truth)
    assert (told.intersection, told.union, told.truth) == (both, either, np.count_nonzero(truth))
    assert told.iou == both / (either + 1e-6)
    assert 0 <= told.iou < 1
    bound = answer(prediction, segment_from(truth), TRIPLE, "m", best=1)
    assert bound == told


@given(st.lists(MASKS, min_size=1, max_size=5), MASKS)
def test_no_answer_beats_the_upper_bound(found: list[np.ndarray], truth: np.ndarray) -> None:
    segments, truth_segment = tuple(map(segment_from, found)), segment_from(truth)
    bound = answer(Prediction("x", segments, (6, 9)), truth_segment, TRIPLE, "m", best=len(found))
    alone = (Prediction("x", (segment,), (6, 9)) for segment in segments)
    assert bound.iou == max(answer(one, truth_segment, TRIPLE, "m").iou for one in alone)


def test_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\(6, 10\) picture is not of \(6, 9\)"):
        answer(Prediction("x", (), (6, 10)), TRUTH, TRIPLE, "m")


@pytest.mark.parametrize("one", [RIGHT, NOTHING])
def test_to_json_and_back(one: Answer) -> None:
    told = json.loads(json.dumps(one.to_json()))
    assert told["found"] is one.found
    assert Answer.from_json(told) == one


@pytest.mark.parametrize("odd", [{}, {**RIGHT.to_json(), "more": 1}, {"box": None}, {"box": 5}])
def test_other_values_are_no_answer(odd: dict[str, object]) -> None:
    with pytest.raises((TypeError, KeyError)):
        Answer.from_json(odd)
