"""Trials to figures: shares with their intervals, means, confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from slip.evaluation.intervals import bootstrap_mean, wilson
from slip.evaluation.labels import fold, verdict
from slip.evaluation.paired import Paired, compare
from slip.evaluation.trials import Trial

GOOD_IOU = 0.5
NOWHERE = "(no tile)"
"""Where a segment lies that is mostly in no single tile, or where there is none."""


@dataclass(frozen=True)
class Share:
    """How many trials are right, with Wilson's 95 % interval."""

    right: int
    trials: int

    @classmethod
    def of(cls, flags: Iterable[bool]) -> Share | None:
        """None where there is no trial."""
        flags = list(flags)
        return cls(sum(flags), len(flags)) if flags else None

    @property
    def value(self) -> float:
        """0 to 1."""
        return self.right / self.trials

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Low and high end, 0 to 1."""
        return wilson(self.right, self.trials)


@dataclass(frozen=True)
class Mean:
    """The mean of a value a trial, with a bootstrap 95 % interval."""

    value: float
    interval: tuple[float, float]
    trials: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean | None:
        """None where there is no trial."""
        return cls(float(np.mean(values)), bootstrap_mean(values), len(values)) if values else None


@dataclass(frozen=True)
class Scores:
    """What a model did. A trial in which there was no segment to choose counts as wrong everywhere.

    tile: the chosen segment lies in a tile of the class asked for.
    judged: the judge gives it that class; of the prompts whose class the judge knows.
    iou, good: mean IoU with the true mask, and how often it is at least .5; of trials with a mask.
    ceiling: how often some segment has that IoU: the most a choice among them could reach.
    reachable: how often some segment lies in the right tile and covers a tenth of it.
    unsegmented: trials without a segment.
    judge_alone, tile_alone: judged right in a wrong tile; judged wrong in the right one.
    """

    model: str
    trials: int
    tile: Share
    judged: Share | None
    iou: Mean | None
    good: Share | None
    ceiling: Share | None
    reachable: Share
    unsegmented: int
    judge_alone: int
    tile_alone: int


class Judging:
    """Compares what a judge said with what was asked. ``Judging(None)``: nobody judged.

    Labels are compared without case, punctuation and spaces.
    """

    def __init__(self, classes: Collection[str] | None) -> None:
        self.classes = classes
        self._known = frozenset(fold(name) for name in classes or ())

    def right(self, trial: Trial) -> bool | None:
        """None without a judge, and where it does not know the class."""
        if self.classes is None:
            return None
        return verdict(trial.label, trial.judged, self._known)


def score(model: str, trials: Sequence[Trial], judging: Judging) -> Scores:
    """The figures of a model's trials, at least one."""
    judged = [judging.right(trial) for trial in trials]
    ious = [trial.iou for trial in trials if trial.iou is not None]
    best = [trial.best_iou for trial in trials if trial.best_iou is not None]
    both = list(zip(trials, judged, strict=True))
    return Scores(
        model=model,
        trials=len(trials),
        tile=Share(sum(trial.hit for trial in trials), len(trials)),
        judged=Share.of(right for right in judged if right is not None),
        iou=Mean.of(ious),
        good=Share.of(iou >= GOOD_IOU for iou in ious),
        ceiling=Share.of(iou >= GOOD_IOU for iou in best),
        reachable=Share(sum(trial.reachable for trial in trials), len(trials)),
        unsegmented=sum(trial.chosen is None for trial in trials),
        judge_alone=sum(right is True and not trial.hit for trial, right in both),
        tile_alone=sum(right is False and trial.hit for trial, right in both),
    )


@dataclass(frozen=True)
class Comparison:
    """Two models on the same trials, by one measure: ``tile``, ``judged`` or ``IoU >= .5``."""

    first: str
    second: str
    measure: str
    paired: Paired


def comparisons(trials: Mapping[str, Sequence[Trial]], judging: Judging) -> list[Comparison]:
    """Every two models by every measure that both have, on the trials that both have it of."""
    told = {
        model: {name: _verdicts(name, own, judging) for name in MEASURES} for model, own in trials.items()
    }
    found = []
    for first, second in combinations(trials, 2):
        for name in MEASURES:
            ours, theirs = told[first][name], told[second][name]
            shared = [key for key in ours if key in theirs]
            if shared:
                paired = compare((ours[key], theirs[key]) for key in shared)
                found.append(Comparison(first, second, name, paired))
    return found


MEASURES = ("tile", "judged", "IoU >= .5")


def _verdicts(measure: str, trials: Sequence[Trial], judging: Judging) -> dict[tuple[int, int], bool]:
    """Whether each trial is right by a measure, where that can be said."""
    if measure == "tile":
        return {trial.key: trial.hit for trial in trials}
    if measure == "judged":
        told = {trial.key: judging.right(trial) for trial in trials}
        return {key: right for key, right in told.items() if right is not None}
    return {trial.key: trial.iou >= GOOD_IOU for trial in trials if trial.iou is not None}


@dataclass(frozen=True)
class ClassScore:
    """One class asked for, by one model."""

    label: str
    tile: Share
    judged: Share | None
    iou: float | None


def by_class(trials: Sequence[Trial], judging: Judging) -> list[ClassScore]:
    """A model's figures class by class, sorted by name."""
    own: dict[str, list[Trial]] = {}
    for trial in trials:
        own.setdefault(trial.label, []).append(trial)
    found = []
    for label, of_class in sorted(own.items()):
        right = (judging.right(trial) for trial in of_class)
        ious = [trial.iou for trial in of_class if trial.iou is not None]
        found.append(
            ClassScore(
                label,
                Share(sum(trial.hit for trial in of_class), len(of_class)),
                Share.of(flag for flag in right if flag is not None),
                float(np.mean(ious)) if ious else None,
            )
        )
    return found


Confusions = list[tuple[str, str, int]]
"""Two labels and how often the one was met with the other; the commonest first."""


def chosen_classes(trials: Iterable[Trial]) -> Confusions:
    """The class asked for, and the class of the tile where the chosen segment lies."""
    return _commonest((trial.label, trial.chosen_label or NOWHERE) for trial in trials)


def judged_classes(trials: Iterable[Trial]) -> Confusions:
    """The class of the tile where the chosen segment lies, and what the judge calls it."""
    return _commonest(
        (trial.chosen_label or NOWHERE, trial.judged) for trial in trials if trial.judged is not None
    )


def _commonest(pairs: Iterable[tuple[str, str]]) -> Confusions:
    counts = Counter(pairs)
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(first, second, count) for (first, second), count in order]
