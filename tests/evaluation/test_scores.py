from __future__ import annotations

from dataclasses import replace

import pytest
from evaluation.composites import NOTHING, RIGHT, WRONG

from slip.evaluation.intervals import wilson
from slip.evaluation.paired import Paired
from slip.evaluation.scores import (
    NOWHERE,
    Comparison,
    Judging,
    Mean,
    Share,
    by_class,
    chosen_classes,
    comparisons,
    judged_classes,
    score,
)

TRIALS = [
    RIGHT,
    WRONG,
    NOTHING,
    replace(RIGHT, tile=3, judged="B", iou=0.25),
    replace(WRONG, composite=1, judged="b"),
]


def test_every_figure() -> None:
    scores = score("m", TRIALS, Judging(["A", "B", "C"]))
    assert (scores.model, scores.trials, scores.unsegmented) == ("m", 5, 1)
    assert scores.tile == Share(2, 5)
    assert scores.judged == Share(2, 5), "of what the judge says, the trial without a segment is wrong"
    assert scores.iou.value == pytest.approx((0.75 + 0.25) / 5)
    assert scores.good == Share(1, 5)
    assert scores.ceiling == Share(2, 5)
    assert scores.reachable == Share(2, 5)
    assert (scores.judge_alone, scores.tile_alone) == (1, 1)
    assert scores.tile.value == 0.4 and scores.tile.interval == wilson(2, 5)


def test_without_judge_and_masks() -> None:
    bare = [replace(trial, iou=None, best_iou=None, judged=None) for trial in TRIALS]
    scores = score("m", bare, Judging(None))
    assert (scores.judged, scores.iou, scores.good, scores.ceiling) == (None,) * 4
    assert (scores.judge_alone, scores.tile_alone) == (0, 0)


def test_classes_the_judge_does_not_know_are_left_out() -> None:
    scores = score("m", TRIALS, Judging(["a"]))
    assert scores.judged == Share(1, 2), "the two trials of a"
    assert (scores.judge_alone, scores.tile_alone) == (0, 1)


def test_mean_of_nothing() -> None:
    assert (Mean.of([]), Share.of([])) == (None, None)


def test_class_by_class() -> None:
    a, b, c = by_class(TRIALS, Judging(["a", "b"]))
    assert (a.label, a.tile, a.judged, a.iou) == ("a", Share(2, 2), Share(1, 2), 0.5)
    assert (b.label, b.tile, b.judged, b.iou) == ("b", Share(0, 2), Share(1, 2), 0)
    assert (c.label, c.tile, c.judged, c.iou) == ("c", Share(0, 1), None, 0)


def test_confusions() -> None:
    assert chosen_classes(TRIALS) == [("a", "a", 2), ("b", "a", 2), ("c", NOWHERE, 1)]
    assert judged_classes(TRIALS) == [("a", "B", 1), ("a", "a", 1), ("a", "b", 1), ("a", "c", 1)]


def test_two_models_are_compared_on_the_trials_they_share() -> None:
    better = [replace(trial, model="n", hit=True, judged=trial.label, iou=0.9) for trial in TRIALS[:4]]
    better[3] = replace(better[3], hit=False)
    found = comparisons({"m": TRIALS, "n": better}, Judging(["a", "b", "c"]))
    assert found == [
        Comparison("m", "n", "tile", Paired(4, 1, 2, 1.0)),
        Comparison("m", "n", "judged", Paired(4, 0, 3, 0.25)),
        Comparison("m", "n", "IoU >= .5", Paired(4, 0, 3, 0.25)),
    ]


def test_measures_that_nobody_took_are_not_compared() -> None:
    bare = [replace(trial, iou=None) for trial in TRIALS]
    found = comparisons({"m": bare, "n": bare, "o": bare}, Judging(None))
    assert [(one.first, one.second, one.measure) for one in found] == [
        ("m", "n", "tile"),
        ("m", "o", "tile"),
        ("n", "o", "tile"),
    ]
