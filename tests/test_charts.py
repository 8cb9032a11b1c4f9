from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slip.charts import (
    CHART,
    COLOURS,
    Axis,
    confusion_picture,
    confusions,
    line_chart,
    round_step,
    tick_labels,
)
from slip.errors import UsageError
from slip.types import Image

NAN = math.nan
BLUE, ORANGE = COLOURS[:2]
ROUND = {f"{digit}" for digit in (1, 2, 5)}

finite = st.floats(-1e100, 1e100)
values = st.lists(finite, min_size=1, max_size=20)


@given(st.floats(1e-90, 1e90))
@example(0.1)
@example(0.2)
@example(5.0)
@example(9.999999)
def test_steps_are_round_and_the_smallest_that_do(least: float) -> None:
    step = round_step(least)
    assert f"{step:.0e}"[0] in ROUND
    assert f"{step:.12e}"[1:14] == "." + 12 * "0"
    assert least * (1 - 1e-8) <= step <= 2.5 * least * (1 + 1e-8)


@given(values, st.integers(2, 12), st.booleans())
@example([0.0, 5e-324], 7, True)
@example([1e9, math.nextafter(1e9, 2e9)], 7, True)
@example([-1e100, 1e100], 10, False)
@example([3.0], 10, False)
@example([0.1 + 0.2, 0.3], 7, True)
def test_axes(values: list[float], most: int, to_ticks: bool) -> None:
    axis = Axis.of(values, most=most, to_ticks=to_ticks)
    assert axis.low < axis.high
    assert 1 <= len(axis.ticks) <= most + 3
    assert all(-1e-6 <= axis.share(value) <= 1 + 1e-6 for value in (*values, *axis.ticks))
    gaps = np.diff(axis.ticks)
    assert np.allclose(gaps, gaps[:1], rtol=1e-3)
    if to_ticks:
        ends = axis.share(axis.ticks[0]), axis.share(axis.ticks[-1])
        assert ends == pytest.approx((0, 1), abs=1e-6)


@given(values, st.integers(2, 12))
@example([0.0, 5e-324], 7)
@example([1e9, 1e9 + 10], 7)
@example([-2.5, 2.5], 5)
@example([1e-7, 3e-7], 5)
@example([2.222222222777778e99], 2)
def test_labels_tell_ticks_apart_and_are_true(values: list[float], most: int) -> None:
    ticks = Axis.of(values, most=most).ticks
    labels = tick_labels(ticks)
    assert len(set(labels)) == len(ticks)
    gap = min(np.diff(ticks), default=abs(ticks[0]) or 1.0)
    read = [float(label.replace(",", "")) for label in labels]
    assert np.allclose(read, ticks, rtol=0, atol=0.01 * gap)


@pytest.mark.parametrize(
    ("values", "most", "labels"),
    [
        ([0.0, 1.0, 2.0, 3.0], 10, ["0", "1", "2", "3"]),
        ([0.1, 0.9], 4, ["0.2", "0.4", "0.6", "0.8"]),
        ([-0.3, 0.3], 6, ["-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3"]),
        ([0.0, 12_345.0], 3, ["0", "5,000", "10,000"]),
        ([0.0, 0.001], 2, ["0.0000", "0.0005", "0.0010"]),
        ([0.0, 3e-7], 3, ["0e+00", "1e-07", "2e-07", "3e-07"]),
        ([2e8, 3e8], 2, ["2.0e+08", "2.5e+08", "3.0e+08"]),
        ([], 5, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ],
)
def test_ticks_as_a_reader_sees_them(values: list[float], most: int, labels: list[str]) -> None:
    assert tick_labels(Axis.of(values, most=most).ticks) == labels


def pixels_of(picture: Image, colour: tuple[int, int, int], top: int = 70) -> np.ndarray:
    """(x, y) of the pixels of a colour below the legend."""
    ys, xs = np.nonzero((picture[top:] == colour).all(axis=2))
    return np.stack([xs, ys + top], axis=1)


def test_curves_rise_where_their_values_do() -> None:
    rising = [(float(x), x * x) for x in range(101)]
    falling = [(float(x), 10_000 - x * x) for x in range(101)]
    picture = line_chart({"up": rising, "down": falling}, "Both", "epoch", "loss")
    assert (picture.shape, picture.dtype) == ((CHART[1], CHART[0], 3), np.uint8)
    for colour, sign in ((BLUE, -1), (ORANGE, 1)):
        found = pixels_of(picture, colour)
        assert len(found) > 500
        assert sign * np.corrcoef(found.T)[0, 1] > 0.9
    middle = pixels_of(picture, BLUE)
    left, right = middle[:, 0].min(), middle[:, 0].max()
    near = middle[np.abs(middle[:, 0] - (left + right) / 2) <= 2][:, 1].mean()
    low, high = middle[:, 1].max(), middle[:, 1].min()
    assert (low - near) / (low - high) == pytest.approx(0.25, abs=0.02)


def test_edges_are_smooth() -> None:
    picture = line_chart({"a": [(0.0, 0.0), (100.0, 1.0)]}, "", "", "")
    blends = {tuple(pixel) for pixel in picture[100:400, 100:800].reshape(-1, 3)}
    assert len(blends) > 6


@given(st.lists(st.floats(-99, 99), max_size=20), st.integers(3, 12))
@example([0.0, 3.0], 7)
@example([math.log10(2), math.log10(5)], 7)
@example([-6.5, 6.5], 7)
def test_axes_of_powers(exponents: list[float], most: int) -> None:
    axis = Axis.of_powers(exponents, most=most)
    assert axis.low < axis.high
    assert 2 <= len(axis.ticks) <= most + 3
    assert (axis.ticks[0], axis.ticks[-1]) == (axis.low, axis.high)
    assert all(-1e-6 <= axis.share(exponent) <= 1 + 1e-6 for exponent in exponents)
    written = [float(label.replace(",", "")) for label in axis.labels]
    assert written == pytest.approx([10**tick for tick in axis.ticks], rel=1e-6)
    assert all(f"{value:.12e}"[:14] in {f"{digit}.{12 * '0'}" for digit in (1, 2, 5)} for value in written)


def test_powers_are_straight_where_both_axes_are_logarithmic() -> None:
    squares = [(float(2**power), float(4**power)) for power in range(60)]
    with_gap = [(x, 0.0 if x in (2**20, 2**21) else y) for x, y in squares]
    drawn = pixels_of(line_chart({"a": squares}, "", "", "", logarithmic=True), BLUE)
    assert np.corrcoef(drawn.T)[0, 1] < -0.999
    assert np.corrcoef(pixels_of(line_chart({"a": squares}, "", "", ""), BLUE).T)[0, 1] > -0.99
    broken = pixels_of(line_chart({"a": with_gap}, "", "", "", logarithmic=True), BLUE)
    assert (np.diff(np.unique(broken[:, 0])) > 20).sum() == 1


def test_a_curve_breaks_where_there_is_no_value() -> None:
    whole = [(float(x), 1.0 + x) for x in range(60)]
    broken = [(x, y if not 20 < x < 40 else (NAN, math.inf, 1e300)[int(x) % 3]) for x, y in whole]
    drawn = pixels_of(line_chart({"a": broken}, "", "", ""), BLUE)
    gaps = np.diff(np.unique(drawn[:, 0]))
    assert (gaps > 200).sum() == 1
    assert (np.diff(np.unique(pixels_of(line_chart({"a": whole}, "", "", ""), BLUE)[:, 0])) == 1).all()


@pytest.mark.parametrize(
    ("points", "drawn"),
    [
        ([(1.0, 2.5)], True),
        ([(1.0, 0.0)], True),
        ([(float(x), 3.0) for x in range(50)], True),
        ([(1.0, NAN), (2.0, 1.0), (3.0, NAN)], True),
        ([(1.0, NAN), (2.0, -math.inf)], False),
        ([], False),
    ],
    ids=["one point", "one zero", "constant", "alone", "no number", "empty"],
)
def test_odd_series(points: list[tuple[float, float]], drawn: bool) -> None:
    picture = line_chart({"odd": points}, "Odd", "x", "y")
    assert (len(pixels_of(picture, BLUE)) > 8) is drawn


def test_no_series_and_many() -> None:
    assert line_chart({}, "Nothing yet", "x", "y").shape == (CHART[1], CHART[0], 3)
    points = [(0.0, 1.0), (1.0, 2.0)]
    many = {f"rate {rate}, heads of {size}": points for rate in range(6) for size in (128, 512)}
    few = line_chart({"one": points}, "", "", "")
    # twelve names take several lines of the legend, so the curves begin further down
    top = [pixels_of(few, BLUE)[:, 1].min()]
    top.append(np.nonzero((line_chart(many, "", "", "")[150:] != 255).any(axis=(1, 2)))[0].min() + 150)
    assert top[0] < 90


@settings(max_examples=20)
@given(st.text(max_size=300))
@example("")
@example("a\n\tb")
@example("W" * 300)
def test_any_name_can_be_written(text: str) -> None:
    picture = line_chart({text: [(1.0, 1.0)]}, text, text, text)
    assert picture.shape == (560, 900, 3) and picture.dtype == np.uint8
    assert len(pixels_of(picture, BLUE)) > 0


def test_writing_without_the_letters_says_something_else() -> None:
    plain, accented = (line_chart({}, title, "", "") for title in ("Flabebe", "Flabébé"))
    assert np.array_equal(plain, accented)
    assert not np.array_equal(line_chart({}, "", "", ""), line_chart({}, "鳥", "", ""))


MATRIX = np.array([[5, 0, 1], [0, 0, 0], [4, 0, 2]])


def test_confusions_are_named_most_frequent_first() -> None:
    assert confusions(MATRIX, ["a", "b", "c"]) == [("c", "a", 4, 6), ("a", "c", 1, 6)]
    assert confusions(np.eye(3, dtype=int), ["a", "b", "c"]) == []


def cells(picture: Image, count: int, cell: int) -> np.ndarray:
    """The colour in a corner of each cell, found by the grid: ``(C, C, 3)``."""
    blue = np.nonzero((picture == (0, 90, 160)).all(axis=2))
    top, left = blue[0].min() - 1, blue[1].min() - 1
    return picture[top + 3 : top + count * cell : cell, left + 3 : left + count * cell : cell]


def test_shades_are_shares_of_rows() -> None:
    matrix = np.array([[9, 0, 0], [0, 0, 0], [3, 1, 0]])
    shown = cells(confusion_picture(matrix, ["ant", "bee", "cat"]), 3, 44).astype(int)
    assert shown[0].tolist() == [[0, 90, 160], [255, 255, 255], [255, 255, 255]]
    assert shown[1].tolist() == 3 * [[236, 236, 236]]  # no trial of this class
    wrong_often, wrong_once, right_never = shown[2]
    assert right_never.tolist() == [255, 255, 255]
    assert (255 - wrong_often).sum() > (255 - wrong_once).sum() > 100  # one of four is plain to see
    assert wrong_once[0] > wrong_once[1] > wrong_once[2]  # the colour of what is wrong


@pytest.mark.parametrize("count", [1, 2, 30, 61, 149, 200])
def test_every_number_of_classes(count: int) -> None:
    rng = np.random.default_rng(count)
    matrix = rng.poisson(0.05, (count, count)) + np.diag(rng.integers(1, 9, count))
    picture = confusion_picture(matrix, [f"species number {index}" for index in range(count)])
    assert picture.dtype == np.uint8
    assert 200 < picture.shape[0] < 2200 and 300 < picture.shape[1] < 2800
    dark = (picture.max(axis=2) < 120).sum()
    assert dark > 50 * min(count, 8)  # names can be read: there is ink


def test_names_at_the_sides_differ_with_the_classes() -> None:
    one, other = (confusion_picture(np.eye(2, dtype=int), names) for names in (["ox", "ape"], ["ox", "pea"]))
    rows, columns = np.nonzero((one != other).any(axis=2))
    assert len(rows) and rows.max() > 180 and columns.min() < 60


@pytest.mark.parametrize(
    ("matrix", "classes", "words"),
    [
        (np.zeros((2, 3), int), ["a", "b"], "expected 2 classes"),
        (np.zeros((2, 2), int), ["a"], "expected 1"),
        (np.zeros((0, 0), int), [], "expected 0"),
        (np.zeros((1, 1)), ["a"], "give counts"),
        (np.array([[-1]]), ["a"], "down to -1"),
    ],
)
def test_what_is_no_confusion_matrix(matrix: np.ndarray, classes: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        confusion_picture(matrix, classes)
