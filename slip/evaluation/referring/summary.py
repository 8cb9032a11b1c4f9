"""All figures of an evaluation, for the terminal, for JSON and for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

from slip.evaluation.referring.answers import Answer
from slip.evaluation.referring.journal import Seconds
from slip.evaluation.referring.metrics import (
    THRESHOLDS,
    Difference,
    Figure,
    Scores,
    curve,
    differences,
    score,
)

Run = Mapping[str, Any]
"""What ``run.json`` holds: see ``slip.cli.contenders``."""


@dataclass(frozen=True)
class MethodSummary:
    """One method's figures.

    about: its entry in the run. curve: points (X, Precision@X). seconds: a picture, on average; None where
    none was timed.
    """

    about: Mapping[str, Any]
    scores: Scores
    curve: tuple[tuple[float, float], ...]
    seconds: float | None

    @property
    def name(self) -> str:
        """What reports call the method."""
        return self.scores.method

    @property
    def oracle(self) -> bool:
        """Whether its figures are an upper bound."""
        return bool(self.about["oracle"])


@dataclass(frozen=True)
class Summary:
    """Everything that was found."""

    run: Run
    methods: tuple[MethodSummary, ...]
    differences: tuple[Difference, ...]

    @property
    def triples(self) -> int:
        """How many each method was asked."""
        return self.methods[0].scores.triples

    @property
    def pictures(self) -> int:
        """How many pictures they are of."""
        return self.methods[0].scores.pictures


def by_method(run: Run, answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """The answers of each method, in the run's order of methods."""
    own: dict[str, list[Answer]] = {about["name"]: [] for about in run["methods"]}
    for one in answers:
        own[one.method].append(one)
    return own


def summarise(run: Run, answers: Sequence[Answer], seconds: Sequence[Seconds] = ()) -> Summary:
    """The figures of all methods of a run. Raises UsageError where a method has answered nothing."""
    own = by_method(run, answers)
    taken: dict[str, dict[str, float]] = {name: {} for name in own}
    for one in seconds:
        taken[one.method][one.picture] = one.seconds
    methods = tuple(
        MethodSummary(
            about,
            score(about["name"], own[about["name"]]),
            tuple(curve(own[about["name"]])),
            _mean(list(taken[about["name"]].values())),
        )
        for about in run["methods"]
    )
    return Summary(run, methods, tuple(differences(own)))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def to_json(summary: Summary) -> dict[str, Any]:
    """The figures as plain values, each as ``value``, ``low``, ``high``.

    Seconds are left out, so that the same answers always make the same file: ``seconds.jsonl`` has them.
    """
    return {
        "run": dict(summary.run),
        "triples": summary.triples,
        "pictures": summary.pictures,
        "methods": [_method_json(one) for one in summary.methods],
        "differences": [
            {"first": one.first, "second": one.second, "measure": one.measure, **_figure(one.figure)}
            for one in summary.differences
        ],
    }


def _method_json(method: MethodSummary) -> dict[str, Any]:
    scores = method.scores
    return {
        "method": method.name,
        "upper_bound": method.oracle,
        "triples": scores.triples,
        "pictures": scores.pictures,
        "iou": _figure(scores.iou),
        "overall_iou": _figure(scores.overall),
        "iou_over_parts": _figure(scores.over_parts),
        "precision": {
            f"{threshold:g}": _figure(figure)
            for threshold, figure in zip(THRESHOLDS, scores.precision, strict=True)
        },
        "unanswered": scores.unanswered,
        "parts": [
            {
                "part": one.part,
                "triples": one.triples,
                "iou": _figure(one.iou),
                "precision_at_half": _figure(one.half),
            }
            for one in scores.parts
        ],
        "curve": [list(point) for point in method.curve],
    }


def _figure(figure: Figure) -> dict[str, float | None]:
    return {name: None if isnan(value) else value for name, value in asdict(figure).items()}
