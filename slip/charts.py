"""Charts as pictures: curves of a training, confusions of a classifier. Drawn with Pillow alone."""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from numpy.typing import NDArray

from slip.errors import UsageError
from slip.types import Image

Point = tuple[float, float]
Colour = tuple[int, int, int]
Font = PIL.ImageFont.FreeTypeFont

CHART = (900, 560)
"""Width and height of a line chart in pixels."""
FINER = 3
"""Lines are drawn this many times larger, then reduced: what makes them smooth."""
DOTTED = 40
"""Series of at most this many points show each of them."""
LARGEST, LEAST = 1e100, 1e-100
"""Numbers beyond the one are not drawn, as infinity is not; distances below the other are none."""

PAPER, INK, FAINT, GRID = (255, 255, 255), (34, 34, 40), (110, 110, 118), (228, 228, 232)
COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (90, 90, 98),
)
"""Okabe and Ito's, which colour-blind readers can tell apart; without the yellow, too light for lines."""

RIGHT, WRONG = (0, 90, 160), (200, 60, 0)
WIDEST = 1600
"""Pixels of the longest side of a confusion picture's square, where its cells can be that small."""
CELL = (4, 44)
"""Least and greatest side of a cell in pixels."""
LISTED = 24
"""How many confusions are spelt out beside the picture."""


@dataclass(frozen=True)
class Axis:
    """One direction of a chart: the values at its ends, and where its ticks stand; or their logarithms."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    @classmethod
    def of(cls, values: Sequence[float], *, most: int, to_ticks: bool = False) -> Axis:
        """An axis for finite ``values``, of whole numbers alone where they are; 0 to 1 for none.

        most: about how many ticks. to_ticks: let it begin and end at one.
        """
        low, high = _widened(min(values, default=0.0), max(values, default=1.0))
        step = round_step((high - low) / max(most, 3))  # not above the span, so that a tick lies in it
        if values and all(float(value).is_integer() for value in values):
            step = max(1.0, step)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if to_ticks:
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            low, high = min(low, first * step), max(high, last * step)
        return cls(low, high, tuple(tick_at(index, step) for index in range(first, last + 1)))

    @classmethod
    def of_powers(cls, exponents: Sequence[float], *, most: int) -> Axis:
        """A logarithmic axis from tick to tick. exponents: the values' logarithms to base 10."""
        low, high = _widened(min(exponents, default=0.0), max(exponents, default=1.0))
        step, digits = math.ceil((high - low) / most), (1, 2, 5) if high - low < most / 3 else (1,)
        powers = range(math.floor(low), math.ceil(high) + step + 1, step)
        ticks = [math.log10(digit * 10.0**power) for power in powers for digit in digits]
        ticks = ticks[bisect_right(ticks, low) - 1 : bisect_left(ticks, high) + 1]
        return cls(ticks[0], ticks[-1], tuple(ticks), logarithmic=True)

    @property
    def labels(self) -> list[str]:
        """What is written at the ticks."""
        if not self.logarithmic:
            return tick_labels(self.ticks)
        return [f"{10**tick:,.10g}" if abs(tick) < 6 else f"{10**tick:.0e}" for tick in self.ticks]

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


def round_step(least: float) -> float:
    """The smallest of ..., .1, .2, .5, 1, 2, 5, 10, ... that is not below ``least``, which is above 0."""
    power = math.floor(math.log10(least))
    steps = (float(f"{digit}e{power + more}") for more in (0, 1) for digit in (1, 2, 5))
    return next((step for step in steps if step >= least * (1 - 1e-9)), float(f"1e{power + 2}"))


def tick_at(index: int, step: float) -> float:
    """``index * step`` without the error of the product: 3 * .1 is .3."""
    return float(f"{index * step:.12g}") + 0.0


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Ticks in as few digits as tell them apart, all with the same decimals: ``0.0 0.5 1.0``."""
    largest = max((abs(tick) for tick in ticks), default=0.0)
    gaps = [b - a for a, b in zip(ticks, ticks[1:], strict=False)] or [largest / 100 or 1.0]
    exponent = math.floor(math.log10(min(gaps)) + 1e-9)
    if largest < 1e7 and exponent >= -5:
        return [f"{tick:,.{max(0, -exponent)}f}" for tick in ticks]
    digits = max(0, math.floor(math.log10(largest) + 1e-9) - exponent)
    return [f"{tick:.{digits}e}" for tick in ticks]


def _widened(low: float, high: float) -> tuple[float, float]:
    """The same ends, moved apart where there is nothing, or only rounding, between them."""
    if high - low > max(1e-9 * max(abs(low), abs(high)), LEAST):
        return low, high
    margin = 0.1 * abs(low) if abs(low) > 100 * LEAST else 0.5
    return low - margin, high + margin


def line_chart(
    series: Mapping[str, Sequence[Point]], title: str, x: str, y: str, *, logarithmic: bool = False
) -> Image:
    """Curves with a legend and axes at round numbers, ``uint8 (560, 900, 3)``.

    series: the points of each curve by its name, in the order they are joined. A curve breaks at a
    value that is not finite; a point alone is a dot.
    x, y: what the axes say. logarithmic: both are; a curve breaks at a value that is not above 0.
    """
    if logarithmic:
        series = {name: list(map(_exponents, points)) for name, points in series.items()}
    drawable = {name: [point for point in points if _is_drawn(point)] for name, points in series.items()}
    shown = [point for points in drawable.values() for point in points]
    columns, rows = [point[0] for point in shown], [point[1] for point in shown]
    across, up = Axis.of(columns, most=10), Axis.of(rows, most=7, to_ticks=True)
    if logarithmic:
        across, up = Axis.of_powers(columns, most=10), Axis.of_powers(rows, most=7)
    entries = _legend([f"{name}: no value" if not points else name for name, points in drawable.items()])
    left = 44 + math.ceil(max(_font(13).getlength(label) for label in up.labels))
    frame = (
        left,
        58 + 22 * (1 + max((line for line, _, _ in entries), default=0)),
        CHART[0] - 28,
        CHART[1] - 62,
    )

    picture = PIL.Image.new("RGB", CHART, PAPER)
    draw = PIL.ImageDraw.Draw(picture)
    _draw_grid(draw, frame, across, up)
    _draw_curves(picture, frame, across, up, list(series.values()))
    _text(draw, (CHART[0] / 2, 22), title, 18, "mm", most=CHART[0] - 40)
    _text(draw, ((frame[0] + frame[2]) / 2, CHART[1] - 18), x, 14, "mm", FAINT)
    _text_upwards(picture, (8, round((frame[1] + frame[3]) / 2)), y, 14, FAINT, anchor="centre")
    for index, (line, start, name) in enumerate(entries):
        at = 52 + 22 * line
        draw.rounded_rectangle((start, at - 2, start + 20, at + 2), radius=2, fill=_colour(index))
        _text(draw, (start + 27, at), name, 14, "lm")
    return np.array(picture)


def _exponents(point: Point) -> Point:
    return cast(Point, tuple(math.log10(each) if LEAST <= each <= LARGEST else math.nan for each in point))


def _is_drawn(point: Point) -> bool:
    return all(math.isfinite(value) and abs(value) <= LARGEST for value in point)


def _legend(names: Sequence[str]) -> list[tuple[int, float, str]]:
    """The line and the left end in pixels of each name, lines being filled one after the other."""
    line, start, placed = 0, 60.0, []
    for name in names:
        fitting = _elided(name, _font(14), CHART[0] - 150)
        width = 27 + _font(14).getlength(fitting) + 22
        if start + width > CHART[0] - 20 and start > 60:
            line, start = line + 1, 60.0
        placed.append((line, start, fitting))
        start += width
    return placed


def _draw_grid(draw: PIL.ImageDraw.ImageDraw, frame: tuple[int, ...], across: Axis, up: Axis) -> None:
    left, top, right, bottom = frame
    for tick, label in zip(up.ticks, up.labels, strict=True):
        at = bottom - up.share(tick) * (bottom - top)
        draw.line((left, at, right, at), fill=GRID)
        _text(draw, (left - 8, at), label, 13, "rm", FAINT)
    for tick, label in zip(across.ticks, across.labels, strict=True):
        at = left + across.share(tick) * (right - left)
        draw.line((at, bottom, at, bottom + 5), fill=FAINT)
        _text(draw, (at, bottom + 10), label, 13, "mt", FAINT)
    draw.line((left, bottom, right, bottom), fill=FAINT)


def _draw_curves(
    picture: PIL.Image.Image,
    frame: tuple[int, ...],
    across: Axis,
    up: Axis,
    curves: Sequence[Sequence[Point]],
) -> None:
    """Each through a mask of its own, drawn larger and reduced."""
    left, top, right, bottom = frame
    for index, points in enumerate(curves):
        mask = PIL.Image.new("L", (CHART[0] * FINER, CHART[1] * FINER))
        pen = PIL.ImageDraw.Draw(mask)
        for run in _runs(points):
            places = [
                (
                    FINER * (left + across.share(x) * (right - left)),
                    FINER * (bottom - up.share(y) * (bottom - top)),
                )
                for x, y in run
            ]
            pen.line(places, fill=255, width=2 * FINER, joint="curve")
            for place in places if len(run) == 1 or len(points) <= DOTTED else ():
                pen.circle(place, 3.5 * FINER, fill=255)
        picture.paste(_colour(index), mask=mask.resize(CHART, PIL.Image.Resampling.BOX))


def _runs(points: Sequence[Point]) -> Iterator[list[Point]]:
    """The stretches of a curve between values that cannot be drawn."""
    run: list[Point] = []
    for point in points:
        if _is_drawn(point):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _colour(index: int) -> Colour:
    """Colours come again, darker each time."""
    again, place = divmod(index, len(COLOURS))
    red, green, blue = COLOURS[place]
    return round(red * 0.55**again), round(green * 0.55**again), round(blue * 0.55**again)


def confusion_picture(matrix: NDArray[np.integer[Any]], classes: Sequence[str]) -> Image:
    """What a classifier takes for what, as ``uint8 (H, W, 3)``; the size follows the classes.

    matrix: ``int (C, C)`` counts; rows are the true classes, columns the predicted ones. A cell's
    shade is its share of the row, blue where that is right; rows without a trial are grey. The most
    frequent confusions are spelt out beside it.

    Raises UsageError for a matrix that does not belong to the classes, or holds no counts.
    """
    counts = np.asarray(matrix)
    if counts.shape != (len(classes), len(classes)) or not len(classes):
        raise UsageError(f"the confusions are {counts.shape}; expected {len(classes)} classes squared")
    if counts.dtype.kind not in "iu" or counts.min() < 0:
        raise UsageError(f"the confusions are {counts.dtype} down to {counts.min()}; give counts")
    cell = min(CELL[1], max(CELL[0], WIDEST // len(classes)))
    square = _shaded(counts, cell)
    size = min(14, max(10, cell - 1))
    names = [_elided(name, _font(size), 150) for name in classes]
    margin = 30 + math.ceil(max(_font(size).getlength(name) for name in names))
    lines = [f"{a} as {b}: {count} of {row}" for a, b, count, row in confusions(counts, classes)[:LISTED]]
    beside = 60 + math.ceil(max((_font(14).getlength(line) for line in lines), default=280))
    right, trials = int(np.trace(counts)), int(counts.sum())
    title = f"{right:,} of {trials:,} right{f' ({right / trials:.1%})' if trials else ''}"

    tall = max(square.height, 24 * len(lines) + 50)
    picture = PIL.Image.new("RGB", (margin + square.width + max(beside, 280), 90 + tall + margin), PAPER)
    draw = PIL.ImageDraw.Draw(picture)
    _text(draw, (24, 28), title, 20, "lm")
    _text(draw, (24, 56), "row: true class; column: predicted; shade: share of the row", 14, "lm", FAINT)
    picture.paste(square, (margin, 90))
    _label_cells(picture, names, (margin, 90), cell, size)
    if cell >= 26:
        _number_cells(draw, counts, (margin, 90), cell)
    column = margin + square.width + 30
    _text(draw, (column, 100), "Most frequent confusions" if lines else "No confusions", 16, "lm")
    for index, line in enumerate(lines):
        _text(draw, (column, 130 + 24 * index), line, 14, "lm", FAINT)
    return np.array(picture)


def confusions(matrix: NDArray[np.integer[Any]], classes: Sequence[str]) -> list[tuple[str, str, int, int]]:
    """What is taken for what, most often first: (true, predicted, times, trials of the true class)."""
    wrong = np.array(matrix)
    np.fill_diagonal(wrong, 0)
    totals = np.asarray(matrix).sum(axis=1)
    rows, columns = np.nonzero(wrong)
    order = np.argsort(-wrong[rows, columns].astype(np.int64), kind="stable")
    return [
        (classes[row], classes[column], int(wrong[row, column]), int(totals[row]))
        for row, column in zip(rows[order], columns[order], strict=True)
    ]


def _shaded(counts: NDArray[np.integer[Any]], cell: int) -> PIL.Image.Image:
    """The cells alone. Shades go with the root of the share, so that one in a hundred is seen."""
    totals = counts.sum(axis=1, keepdims=True)
    shade = np.sqrt(counts / np.maximum(totals, 1))[..., None]
    diagonal = np.eye(len(counts), dtype=bool)[..., None]
    full = np.where(diagonal, np.array(RIGHT), np.array(WRONG))
    ground = np.where(totals[..., None] > 0, 255, 236)
    pixels = (ground + (full - ground) * shade).round().astype(np.uint8)
    large = pixels.repeat(cell, axis=0).repeat(cell, axis=1)
    if cell >= 6:
        large[::cell], large[:, ::cell] = GRID, GRID
    return PIL.Image.fromarray(large)


def _label_cells(
    picture: PIL.Image.Image, names: Sequence[str], corner: tuple[int, int], cell: int, size: int
) -> None:
    """Names at rows and columns; where the cells are smaller than letters, at every second, third ..."""
    draw = PIL.ImageDraw.Draw(picture)
    bottom = corner[1] + cell * len(names)
    for index in range(0, len(names), math.ceil((size + 1) / cell)):
        middle = cell * index + cell / 2
        _text(draw, (corner[0] - 6, corner[1] + middle), names[index], size, "rm")
        _text_upwards(picture, (round(corner[0] + middle), bottom + 6), names[index], size, INK, anchor="top")


def _number_cells(
    draw: PIL.ImageDraw.ImageDraw, counts: NDArray[np.integer[Any]], corner: tuple[int, int], cell: int
) -> None:
    totals = counts.sum(axis=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        count = int(counts[row, column])
        at = corner[0] + cell * (column + 0.5), corner[1] + cell * (row + 0.5)
        _text(draw, at, f"{count}", 12, "mm", PAPER if count > 0.25 * totals[row] else INK, most=cell - 2)


@lru_cache
def _font(size: float) -> Font:
    """Pillow's built-in font, the same everywhere."""
    return cast(Font, PIL.ImageFont.load_default(size))


@lru_cache
def _has(letter: str) -> bool:
    font = _font(14)
    return bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))


def _written(text: str) -> str:
    """The text in letters the font has: accents go, what is left without a letter is a question mark."""
    return "".join(
        letter if _has(letter) else "".join(filter(_has, unicodedata.normalize("NFKD", letter))) or "?"
        for letter in " ".join(text.split())
    )


def _elided(text: str, font: Font, most: float) -> str:
    """The text, or as much of its beginning as fits ``most`` pixels, and an ellipsis."""
    text = _written(text)
    if font.getlength(text) <= most:
        return text
    end = bisect_right(range(len(text)), most, key=lambda end: font.getlength(f"{text[:end]}…")) - 1
    return f"{text[: max(0, end)].rstrip()}…"


def _text(
    draw: PIL.ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: float,
    anchor: str,
    colour: Colour = INK,
    *,
    most: float = math.inf,
) -> None:
    """Written at ``at``; smaller where it would be wider than ``most`` pixels."""
    text = _written(text)
    width = _font(size).getlength(text)
    font = _font(size if width <= most else max(8, math.floor(size * most / width)))
    draw.text(at, text, font=font, fill=colour, anchor=anchor)


def _text_upwards(
    picture: PIL.Image.Image, at: tuple[int, int], text: str, size: float, colour: Colour, *, anchor: str
) -> None:
    """Written from below upwards. ``centre``: ``at`` is the left side's middle; ``top``: the top's."""
    font, text = _font(size), _written(text)
    flat = PIL.Image.new("L", (math.ceil(font.getlength(text)) + 2, math.ceil(size * 1.4)))
    PIL.ImageDraw.Draw(flat).text((1, flat.height / 2), text, font=font, fill=255, anchor="lm")
    upright = flat.transpose(PIL.Image.Transpose.ROTATE_90)
    left, top = (
        (at[0], at[1] - upright.height // 2) if anchor == "centre" else (at[0] - upright.width // 2, at[1])
    )
    picture.paste(colour, (left, top), upright)
