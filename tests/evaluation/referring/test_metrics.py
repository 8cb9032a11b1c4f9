from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from evaluation.referring.toys import NOTHING, made
from hypothesis import given, settings
from hypothesis import strategies as st

from slip.errors import UsageError
from slip.evaluation.referring.answers import Answer
from slip.evaluation.referring.metrics import THRESHOLDS, Sheet, curve, differences, score

HAND = [
    made("a", "wing", 50, 100),
    made("a", "leg", 90, 100),
    made("b", "wing", 200, 400),
    made("b", "tail", 0, 40),
    made("c", "wing", 71, 100),
]
ONE = st.tuples(st.integers(0, 60), st.integers(1, 60)).map(lambda pair: (min(pair), max(pair)))


@st.composite
def many(draw: st.DrawFn) -> list[Answer]:
    pictures = draw(st.lists(st.lists(ONE, min_size=1, max_size=4), min_size=1, max_size=8))
    return [
        made(f"{index:02}", "abcd"[place], *pair)
        for index, pairs in enumerate(pictures)
        for place, pair in enumerate(pairs)
    ]


def test_by_hand() -> None:
    told = score("m", HAND)
    assert (told.triples, told.pictures, told.unanswered) == (5, 3, 0)
    assert told.iou.value == pytest.approx((0.5 + 0.9 + 0.5 + 0 + 0.71) / 5)
    assert told.overall.value == pytest.approx(411 / 740)
    assert told.over_parts.value == pytest.approx((0.57 + 0.9 + 0) / 3)
    assert [figure.value for figure in told.precision] == [0.4, 0.4, 0.4, 0.2, 0.0]
    assert [(one.part, one.triples) for one in told.parts] == [("leg", 1), ("tail", 1), ("wing", 3)]
    assert [one.iou.value for one in told.parts] == pytest.approx([0.9, 0, 0.57])
    assert [one.half.value for one in told.parts] == pytest.approx([1, 0, 1 / 3])


def test_an_iou_of_exactly_x_is_not_above_it() -> None:
    exactly = [replace(made("a", "wing", 1, 2), iou=threshold) for threshold in THRESHOLDS]
    assert [figure.value for figure in score("m", exactly).precision] == [0.8, 0.6, 0.4, 0.2, 0.0]


def test_no_answer_counts_as_nothing() -> None:
    told = score("m", [made("a", "wing", 80, 80), replace(NOTHING, picture="b")])
    assert told.iou.value == pytest.approx(0.5)
    assert (told.overall.value, told.unanswered) == (0.5, 1)


def test_no_answers_at_all_are_refused() -> None:
    with pytest.raises(UsageError, match="no answers"):
        score("m", [])


@given(many())
@settings(max_examples=25)
def test_figures_are_those_of_a_naive_count(answers: list[Answer]) -> None:
    told = score("m", answers)
    ious = [one.iou for one in answers]
    assert told.iou.value == pytest.approx(sum(ious) / len(ious))
    assert told.overall.value == pytest.approx(
        sum(one.intersection for one in answers) / sum(one.union for one in answers)
    )
    of_parts = {part: [one.iou for one in answers if one.part == part] for part in "abcd"}
    means = [sum(own) / len(own) for own in of_parts.values() if own]
    assert told.over_parts.value == pytest.approx(sum(means) / len(means))
    for threshold, figure in zip(THRESHOLDS, told.precision, strict=True):
        assert figure.value == pytest.approx(sum(iou > threshold for iou in ious) / len(ious))
    values = [figure.value for figure in told.precision]
    assert values == sorted(values, reverse=True)
    for figure in (told.iou, told.overall, *told.precision):
        assert -1e-9 <= figure.low <= figure.high <= 1 + 1e-9
    assert dict(curve(answers))[0.5] == pytest.approx(values[0])


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12))
@settings(max_examples=25)
def test_overall_is_the_mean_where_unions_are_equal(common: list[int]) -> None:
    told = score("m", [made(f"{index}", "wing", both, 50) for index, both in enumerate(common)])
    assert told.overall.value == pytest.approx(told.iou.value, abs=1e-6)
    assert told.overall.low == pytest.approx(told.iou.low, abs=1e-6)


@given(many(), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_the_order_of_answers_changes_nothing(answers: list[Answer], chance: random.Random) -> None:
    mixed = answers[:]
    chance.shuffle(mixed)
    assert score("m", mixed) == score("m", answers)


def test_resamples_are_those_of_a_naive_bootstrap() -> None:
    """Whole pictures are drawn, and a figure is computed anew from the answers of those that are drawn."""
    pictures = sorted({one.picture for one in HAND})
    rng = np.random.default_rng(0)
    sheet = Sheet(HAND)
    for resample in range(50):
        drawn = [pictures[index] for index in rng.integers(len(pictures), size=len(pictures))]
        answers = [one for picture in drawn for one in HAND if one.picture == picture]
        ious = [one.iou for one in answers]
        assert sheet.iou.resampled[resample] == pytest.approx(np.mean(ious))
        overall = sum(one.intersection for one in answers) / sum(one.union for one in answers)
        assert sheet.overall.resampled[resample] == pytest.approx(overall)
        assert sheet.precision(0).resampled[resample] == pytest.approx(np.mean(np.array(ious) > 0.5))
        parts = sorted({one.part for one in answers})
        means = [np.mean([one.iou for one in answers if one.part == part]) for part in parts]
        assert sheet.over_parts.resampled[resample] == pytest.approx(np.mean(means))
        legs = [one.iou for one in answers if one.part == "leg"] or [np.nan]
        assert sheet.part(0, 1).resampled[resample] == pytest.approx(np.mean(legs), nan_ok=True)


def test_parts_of_a_picture_that_are_alike_tell_less() -> None:
    """Ten answers in each of ten pictures, all alike in a picture: not a hundred independent ones."""
    clustered = [
        made(f"{picture}", f"{part}", 5 + 9 * picture, 100) for picture in range(10) for part in range(10)
    ]
    alone = [made(f"{index}", "0", one.intersection, 100) for index, one in enumerate(clustered)]
    wide, narrow = score("m", clustered).iou, score("m", alone).iou
    assert wide.value == pytest.approx(narrow.value)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_interval_holds_the_truth_most_of_the_time() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(60):
        shares = rng.uniform(size=60)
        answers = [
            made(f"{index:02}", part, int(1000 * share), 1000)
            for index, share in enumerate(shares)
            for part in "ab"
        ]
        figure = score("m", answers).iou
        held += figure.low <= 0.5 <= figure.high
    assert 51 <= held <= 60


def test_differences_are_paired() -> None:
    """The second is always a little worse: pictures differ much more than the methods do."""
    first = [made(f"{index:02}", "wing", 10 + 2 * index, 100) for index in range(40)]
    second = [
        replace(one, method="n", intersection=one.intersection - 5, iou=one.iou - 0.05) for one in first
    ]
    [iou, half] = differences({"m": first, "n": list(reversed(second))})
    assert (iou.first, iou.second, iou.measure, half.measure) == ("m", "n", "mean IoU", "Precision@0.5")
    assert (iou.figure.value, iou.figure.low, iou.figure.high) == pytest.approx((0.05, 0.05, 0.05))
    assert half.figure.value == pytest.approx(2 / 40)
    assert 0 <= half.figure.low <= half.figure.value <= half.figure.high
    [back, _] = differences({"n": second, "m": first})
    assert back.figure.value == pytest.approx(-0.05)
    assert differences({"m": first}) == []


def test_only_answers_to_the_same_triples_are_compared() -> None:
    with pytest.raises(UsageError, match="different triples"):
        differences({"m": HAND, "n": HAND[1:]})


def test_one_picture_has_no_spread() -> None:
    told = score("m", HAND[:2])
    assert (told.iou.low, told.iou.high) == pytest.approx((told.iou.value, told.iou.value))
