from __future__ import annotations

import json
from dataclasses import replace

import pytest
from evaluation.composites import NOTHING, RIGHT, block, composite, prediction

from slip.data.composites import Composite
from slip.errors import UsageError
from slip.evaluation.trials import Trial, area_in, measure, tile_of
from slip.masks import decode_rle
from slip.types import Box, Prediction


def trial(picture: Composite, found: Prediction, tile: int = 0) -> Trial:
    return measure(picture, tile, found, number=7, model="m", swapped=False, judged="x")


@pytest.mark.parametrize(
    ("box", "tile"),
    [
        ((1, 1, 4, 4), 0),
        ((12, 1, 20, 4), 1),
        ((0, 9, 10, 12), 2),
        ((8, 8, 20, 20), 3),
        ((5, 0, 15, 4), None),
        ((4, 0, 15, 4), 0),
        ((0, 0, 20, 20), None),
    ],
)
def test_a_segment_lies_in_the_tile_with_more_than_half_of_it(box: tuple[int, ...], tile: int | None) -> None:
    assert tile_of(block(*box), composite().tiles) == tile


def test_area_in_a_box() -> None:
    assert area_in(block(2, 3, 8, 9), Box(0, 0, 5, 5)) == 3 * 2
    assert area_in(block(2, 3, 8, 9), Box(9, 0, 20, 20)) == 0


def test_a_right_choice() -> None:
    told = trial(composite(), prediction(block(1, 1, 5, 6), block(11, 11, 14, 14)))
    assert (told.composite, told.tile, told.key, told.model) == (7, 0, (7, 0), "m")
    assert (told.picture, told.label, told.text, told.judged) == ("a.png", "a", "a", "x")
    assert (told.hit, told.chosen_tile, told.chosen_label, told.segments) == (True, 0, "a", 2)
    assert (told.chosen.box, told.chosen.area, told.chosen.score) == ((1, 1, 5, 6), 20, None)
    assert (decode_rle(told.chosen.rle) == block(1, 1, 5, 6).mask).all()
    assert (told.iou, told.best_iou) == (None, None)


def test_a_wrong_choice() -> None:
    told = trial(composite(), prediction(block(11, 1, 15, 6), block(1, 1, 5, 5)))
    assert (told.hit, told.chosen_tile, told.chosen_label, told.reachable) == (False, 1, "b", True)


def test_a_choice_in_no_tile_is_wrong() -> None:
    told = trial(composite(), prediction(block(5, 5, 15, 15)))
    assert (told.hit, told.chosen_tile, told.chosen_label, told.reachable) == (False, None, None, False)


def test_nothing_to_choose_from() -> None:
    told = trial(composite("abcd", [block(0, 0, 4, 4), None, None, None]), prediction())
    assert (told.hit, told.chosen, told.segments, told.reachable) == (False, None, 0, False)
    assert (told.iou, told.best_iou) == (0, 0)


def test_iou_of_the_chosen_and_of_the_best_segment() -> None:
    truths = [block(0, 0, 8, 8), None, None, block(12, 12, 18, 18)]
    found = prediction(block(0, 0, 4, 8), block(0, 0, 8, 7), block(12, 12, 18, 18))
    told = trial(composite("abcd", truths), found)
    assert (told.iou, told.best_iou) == (32 / 64, 56 / 64)
    other = trial(composite("abcd", truths), found, tile=3)
    assert (other.iou, other.best_iou) == (0, 1)
    assert trial(composite("abcd", truths), found, tile=1).iou is None


@pytest.mark.parametrize(
    ("box", "reachable"), [((0, 0, 5, 2), True), ((0, 0, 3, 3), False), ((4, 0, 16, 9), False)]
)
def test_reachable_is_a_tenth_of_the_tile(box: tuple[int, ...], reachable: bool) -> None:
    assert trial(composite(), prediction(block(*box))).reachable is reachable


def test_any_tile_of_a_repeated_class_is_right() -> None:
    truths = [block(0, 0, 4, 4), None, None, block(10, 10, 14, 14)]
    told = trial(composite("abca", truths), prediction(block(10, 10, 14, 12)))
    assert (told.hit, told.chosen_tile, told.iou, told.reachable) == (True, 3, 0.5, False)


def test_a_prediction_of_another_picture_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\(20, 21\).*\(20, 20\)"):
        trial(composite(), replace(prediction(), image_size=(20, 21)))


@pytest.mark.parametrize("some", [RIGHT, NOTHING])
def test_trials_come_back_from_json(some: Trial) -> None:
    assert Trial.from_json(json.loads(json.dumps(some.to_json()))) == some
