"""All figures of an evaluation, for the terminal, for JSON and for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from slip.evaluation.labels import uncovered, verdict
from slip.evaluation.protocols import Reading, SameTiles, read_finetuned, read_pretrained, same_last_tiles
from slip.evaluation.scores import (
    ClassScore,
    Comparison,
    Confusions,
    Judging,
    Mean,
    Scores,
    Share,
    by_class,
    chosen_classes,
    comparisons,
    judged_classes,
    score,
)
from slip.evaluation.trials import Trial

Run = Mapping[str, Any]
"""What ``run.json`` holds: see ``slip.cli.entrants``."""


@dataclass(frozen=True)
class ModelSummary:
    """One model's figures.

    about: its entry in the run. chosen: asked for, and met. judged: met, and what the judge said.
    """

    about: Mapping[str, Any]
    scores: Scores
    classes: tuple[ClassScore, ...]
    chosen: Confusions
    judged: Confusions

    @property
    def name(self) -> str:
        """What reports call the model."""
        return self.scores.model


@dataclass(frozen=True)
class Published:
    """A model as the paper would have published it. swapped: its crops had red and blue exchanged."""

    model: str
    swapped: bool
    reading: Reading


@dataclass(frozen=True)
class Paper:
    """The published reading of all models; unmatched: prompts the judge has no such label for."""

    models: tuple[Published, ...]
    same_tiles: tuple[tuple[str, str, SameTiles], ...]
    unmatched: Mapping[str, int]


@dataclass(frozen=True)
class Summary:
    """Everything that was found. uncovered: prompts whose class the judge does not know, by class.

    paper: under the ``paper`` protocol only.
    """

    run: Run
    models: tuple[ModelSummary, ...]
    comparisons: tuple[Comparison, ...]
    uncovered: Mapping[str, int]
    paper: Paper | None


def summarise(run: Run, trials: Sequence[Trial]) -> Summary:
    """The figures of all models of a run. Trials with swapped colours count in the paper's reading alone."""
    classes = run["judge"]["classes"] if run["judge"] else None
    judging = Judging(classes)
    own = {
        about["name"]: [trial for trial in trials if trial.model == about["name"] and not trial.swapped]
        for about in run["models"]
    }
    models = tuple(_model(about, own[about["name"]], judging) for about in run["models"])
    asked = next(iter(own.values()))
    return Summary(
        run=run,
        models=models,
        comparisons=tuple(comparisons(own, judging)),
        uncovered={} if classes is None else uncovered((trial.label for trial in asked), classes),
        paper=_paper(run, trials) if run["protocol"] == "paper" else None,
    )


def _model(about: Mapping[str, Any], trials: Sequence[Trial], judging: Judging) -> ModelSummary:
    return ModelSummary(
        about,
        score(about["name"], trials, judging),
        tuple(by_class(trials, judging)),
        chosen_classes(trials),
        judged_classes(trials),
    )


def _paper(run: Run, trials: Sequence[Trial]) -> Paper:
    published, verdicts = [], {}
    for about in run["models"]:
        name, finetuned = about["name"], about["finetuned"]
        own = [trial for trial in trials if trial.model == name and trial.swapped == finetuned]
        rows = verdicts[name] = _rows(own)
        reading = read_finetuned(rows) if finetuned else read_pretrained(rows)
        published.append(Published(name, finetuned, reading))
    same = [(a, b, same_last_tiles(verdicts[a], verdicts[b])) for a, b in combinations(verdicts, 2)]
    first = run["models"][0]["name"]
    asked = [trial.label for trial in trials if trial.model == first and not trial.swapped]
    unmatched = uncovered(asked, run["judge"]["classes"], exactly=True)
    return Paper(tuple(published), tuple(same), unmatched)


def _rows(trials: Sequence[Trial]) -> list[list[bool]]:
    """Published verdicts: a row a composite, its tiles in order."""
    rows: dict[int, dict[int, bool]] = {}
    for trial in trials:
        right = verdict(trial.label, trial.judged, (), exactly=True)
        rows.setdefault(trial.composite, {})[trial.tile] = right is True
    return [[row[tile] for tile in sorted(row)] for _, row in sorted(rows.items())]


def to_json(summary: Summary) -> dict[str, Any]:
    """The figures as plain values; shares as ``right``, ``trials``, ``share``, ``low``, ``high``."""
    told: dict[str, Any] = {
        "run": dict(summary.run),
        "models": [_model_json(model) for model in summary.models],
        "comparisons": [
            {"first": one.first, "second": one.second, "measure": one.measure, **vars(one.paired)}
            for one in summary.comparisons
        ],
        "classes_unknown_to_the_judge": dict(summary.uncovered),
    }
    if summary.paper:
        told["paper"] = _paper_json(summary.paper)
    return told


def _model_json(model: ModelSummary) -> dict[str, Any]:
    scores = model.scores
    return {
        "model": model.name,
        "trials": scores.trials,
        "tile_accuracy": _figure(scores.tile),
        "judged_accuracy": _figure(scores.judged),
        "iou": _figure(scores.iou),
        "iou_at_least_half": _figure(scores.good),
        "ceiling_iou_at_least_half": _figure(scores.ceiling),
        "reachable_tiles": _figure(scores.reachable),
        "without_segment": scores.unsegmented,
        "judge_right_wrong_tile": scores.judge_alone,
        "right_tile_judge_wrong": scores.tile_alone,
        "classes": [
            {
                "label": one.label,
                "tile_accuracy": _figure(one.tile),
                "judged_accuracy": _figure(one.judged),
                "iou": one.iou,
            }
            for one in model.classes
        ],
        "asked_and_chosen": [list(row) for row in model.chosen],
        "chosen_and_judged": [list(row) for row in model.judged],
    }


def _figure(figure: Share | Mean | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    low, high = figure.interval
    if isinstance(figure, Mean):
        return {"mean": figure.value, "trials": figure.trials, "low": low, "high": high}
    return {
        "right": figure.right,
        "trials": figure.trials,
        "share": figure.value,
        "low": low,
        "high": high,
    }


def _paper_json(paper: Paper) -> dict[str, Any]:
    return {
        "published": [
            {
                "model": one.model,
                "red_and_blue_swapped": one.swapped,
                **vars(one.reading),
                "share": one.reading.share,
                "ceiling": one.reading.ceiling,
            }
            for one in paper.models
        ],
        "same_last_tiles": [
            {
                "first": first,
                "second": second,
                "first_right": same.first_right,
                "second_right": same.second_right,
                **vars(same.paired),
            }
            for first, second, same in paper.same_tiles
        ],
        "prompts_without_such_a_label": dict(paper.unmatched),
    }
