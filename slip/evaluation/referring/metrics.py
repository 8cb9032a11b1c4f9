"""Answers to figures: IoU, Precision@X, their intervals, and whether two methods differ.

Intervals are of the percentile bootstrap over pictures: the parts of a picture are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from slip.errors import UsageError
from slip.evaluation.intervals import percentiles, resampled_sums
from slip.evaluation.referring.answers import Answer

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""The X of Precision@X: the share of answers with an IoU above it."""
COMPARED = ("mean IoU", "Precision@0.5")
CURVE = tuple(step / 50 for step in range(51))
"""Where the curve of Precision@X is drawn."""


@dataclass(frozen=True)
class Figure:
    """A measured value with its 95 % interval; the ends are NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value, and what it is in every resample of the pictures, ``float64 (R,)``; NaN: without a trial."""

    value: float
    resampled: NDArray[np.float64]

    @property
    def figure(self) -> Figure:
        """The value with its interval."""
        return Figure(self.value, *percentiles(self.resampled))

    def minus(self, other: Estimate) -> Estimate:
        """How much larger it is than another one of the same pictures."""
        return Estimate(self.value - other.value, self.resampled - other.resampled)


@dataclass(frozen=True)
class PartScore:
    """One part by one method. half: Precision@0.5."""

    part: str
    triples: int
    iou: Figure
    half: Figure


@dataclass(frozen=True)
class Scores:
    """What a method did. An answer that was not given has an IoU of 0.

    iou: the mean over all triples. overall: all intersections over all unions. over_parts: the mean of the
    parts' mean IoUs. precision: for each of ``THRESHOLDS``. unanswered: triples without an answer.
    """

    method: str
    triples: int
    pictures: int
    iou: Figure
    overall: Figure
    over_parts: Figure
    precision: tuple[Figure, ...]
    unanswered: int
    parts: tuple[PartScore, ...]


@dataclass(frozen=True)
class Difference:
    """How much more the first of two methods has than the second, by one of ``COMPARED``."""

    first: str
    second: str
    measure: str
    figure: Figure


class Sheet:
    """A method's answers, at least one, added up picture by picture, as they are and in every resample.

    Sheets of the same pictures have the same resamples, whatever the order of the answers.
    """

    def __init__(self, answers: Sequence[Answer], seed: int = 0) -> None:
        if not answers:
            raise UsageError("no answers to measure; ask at least one question")
        answers = sorted(answers, key=lambda one: one.key)
        pictures, rows = np.unique([one.picture for one in answers], return_inverse=True)
        self.parts, places = np.unique([one.part for one in answers], return_inverse=True)
        ious = np.array([one.iou for one in answers])
        hits = [ious > threshold for threshold in THRESHOLDS]
        pixels = np.array([(one.intersection, one.union) for one in answers], float)
        values = np.column_stack([np.ones(len(answers)), ious, *hits, pixels])
        whole = np.zeros((len(pictures), values.shape[1]))
        np.add.at(whole, rows, values)
        of_parts = np.zeros((len(pictures), len(self.parts), 3))
        np.add.at(of_parts, (rows, places), values[:, :3])
        both = np.concatenate([whole, of_parts.reshape(len(pictures), -1)], axis=1)
        sums = np.concatenate([both.sum(axis=0)[None], resampled_sums(both, seed=seed)])
        self.pictures, self.triples = len(pictures), len(answers)
        self.columns = sums[:, : values.shape[1]]
        self.of_parts = sums[:, values.shape[1] :].reshape(len(sums), len(self.parts), 3)
        """``(1 + R, parts, 3)``: triples, IoU and hits, first of all pictures, then of the resamples."""

    @property
    def iou(self) -> Estimate:
        """The mean over all triples."""
        return _quotient(self.columns[:, 1], self.columns[:, 0])

    @property
    def overall(self) -> Estimate:
        """All intersections over all unions."""
        return _quotient(self.columns[:, -2], self.columns[:, -1])

    @property
    def over_parts(self) -> Estimate:
        """The mean of the parts' means; of a resample, of those in it."""
        triples, ious = self.of_parts[..., 0], self.of_parts[..., 1]
        means = np.divide(ious, triples, out=np.zeros_like(ious), where=triples > 0)
        return _quotient(means.sum(axis=1), (triples > 0).sum(axis=1).astype(float))

    def precision(self, index: int) -> Estimate:
        """Precision at that one of ``THRESHOLDS``."""
        return _quotient(self.columns[:, 2 + index], self.columns[:, 0])

    def part(self, index: int, column: int) -> Estimate:
        """Of a part, its mean IoU (column 1) or Precision@0.5 (column 2)."""
        return _quotient(self.of_parts[:, index, column], self.of_parts[:, index, 0])

    def compared(self) -> dict[str, Estimate]:
        """By what methods are compared."""
        return dict(zip(COMPARED, (self.iou, self.precision(0)), strict=True))


def _quotient(over: NDArray[np.float64], under: NDArray[np.float64]) -> Estimate:
    values = np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)
    return Estimate(float(values[0]), values[1:])


def score(method: str, answers: Sequence[Answer]) -> Scores:
    """The figures of a method's answers, at least one. Raises UsageError for none."""
    sheet = Sheet(answers)
    return Scores(
        method=method,
        triples=sheet.triples,
        pictures=sheet.pictures,
        iou=sheet.iou.figure,
        overall=sheet.overall.figure,
        over_parts=sheet.over_parts.figure,
        precision=tuple(sheet.precision(index).figure for index in range(len(THRESHOLDS))),
        unanswered=sum(not one.found for one in answers),
        parts=tuple(
            PartScore(
                str(part),
                int(sheet.of_parts[0, index, 0]),
                sheet.part(index, 1).figure,
                sheet.part(index, 2).figure,
            )
            for index, part in enumerate(sheet.parts)
        ),
    )


def differences(answers: Mapping[str, Sequence[Answer]]) -> list[Difference]:
    """Every two methods by all of ``COMPARED``. Raises UsageError unless all answered the same triples."""
    keys = [{one.key for one in own} for own in answers.values()]
    if any(own != keys[0] for own in keys):
        raise UsageError("methods that answered different triples cannot be compared; ask all of all")
    told = {method: Sheet(own).compared() for method, own in answers.items()}
    return [
        Difference(first, second, measure, told[first][measure].minus(told[second][measure]).figure)
        for first, second in combinations(told, 2)
        for measure in COMPARED
    ]


def curve(answers: Sequence[Answer]) -> list[tuple[float, float]]:
    """Precision@X for each X of ``CURVE``: points (X, share)."""
    ious = np.array([one.iou for one in answers])
    return [(threshold, float(np.mean(ious > threshold))) for threshold in CURVE]
