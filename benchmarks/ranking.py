"""Which way of ranking segments is best: every view, filter, wording, negatives and prior.

    python -m benchmarks.ranking                          200 drawn scenes, the tiny CLIP
    python -m benchmarks.ranking --clip mine --data FOLDER     composites of its held-out pictures

Every picture is searched once and its segments are encoded once in every view; all rows are
arithmetic on that. Every critter of a scene (every tile of a composite) is asked for, and as many
that are not there. A row says how often the best segment is right (IoU >= .5 with the critter; lies
in the tile), how well scores tell what is there from what is not (AUROC), how many prompts for
what is there are refused at the threshold where 5 % of the others pass, and how many are not refused
and right, by which the rows are sorted.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, product
from time import perf_counter
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.exams import Exam, Examiner
from benchmarks.timing import machine, markdown
from slip.data.sets import open_set
from slip.device import resolve
from slip.evaluation.intervals import wilson
from slip.evaluation.paired import compare
from slip.models import load_encoder, load_proposer, scoring_of
from slip.options import EVAL, OVERLAP, SCORING, VIEW, Overlap, Scoring, View, propose_options
from slip.pipeline.crops import VIEWS, members
from slip.pipeline.nested import settle_nested
from slip.pipeline.score import LogOdds, log_odds
from slip.pipeline.texts import Texts, averaged
from slip.types import Encoder

FIRST_SCENE = 960_000
FALSE_ACCEPTS = 0.05
WORDINGS = {"plain": ("{}",), "photos": SCORING.templates}
NEGATIVES = {
    "none": (),
    "generic": SCORING.negatives,
    "ground": ("the background", "the ground", "a fragment"),
}
PRIORS = (0.0, 0.25, 1.0)
PRESENCES = (0.0, 0.2)
NESTED = ("whole", "as scored")


@dataclass(frozen=True)
class Row:
    """One way of ranking: names of WORDINGS and NEGATIVES, weights as in ``Scoring``.

    view: a view, or several joined by "+", whose features are averaged.
    nested: whether ties between nested segments are settled, ``whole``, or not.
    """

    view: str
    overlap: Overlap
    wording: str
    negatives: str
    prior: float
    presence: float
    nested: str

    def differences(self, other: Row) -> int:
        """In how many respects two ways differ."""
        return sum(getattr(self, name) != getattr(other, name) for name in self.__dataclass_fields__)


@dataclass
class Answers:
    """What a row answered. Of each prompt the best log-odds; of the present ones whether it was right."""

    present: list[float] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    @property
    def auroc(self) -> float:
        """How often a present prompt scores higher than an absent one; ties count half."""
        absent = np.sort(self.absent)
        below = np.searchsorted(absent, self.present, "left")
        not_above = np.searchsorted(absent, self.present, "right")
        return float((below + not_above).mean() / (2 * len(absent)))

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Which present prompts pass the threshold that FALSE_ACCEPTS of the absent ones pass."""
        threshold = np.quantile(self.absent, 1 - FALSE_ACCEPTS, method="higher")
        passed: NDArray[np.bool_] = np.array(self.present) > threshold
        return passed

    @property
    def found(self) -> list[bool]:
        """Which present prompts pass and are right."""
        return [bool(flag) for flag in self.accepted & np.array(self.right)]


def rows(default: Row) -> list[Row]:
    """The whole product, every ensemble there could be, and the default with ties as they are scored."""
    axes = product(get_args(View), get_args(Overlap), WORDINGS, NEGATIVES, PRIORS, PRESENCES)
    settled = [
        Row(view, overlap, wording, negatives, prior, presence, NESTED[0])
        for view, overlap, wording, negatives, prior, presence in axes
    ]
    return [*settled, *ensembles(default), replace(default, nested=NESTED[1])]


def ensembles(default: Row) -> list[Row]:
    """Two views or more, all else like the default."""
    joined = (combinations(VIEWS, count) for count in range(2, len(VIEWS) + 1))
    return [replace(default, view="+".join(views)) for views in chain.from_iterable(joined)]


def default_row(scoring: Scoring) -> Row:
    """What is done where nothing else is said, or what is nearest to it in the table."""
    wording = next((name for name, texts in WORDINGS.items() if texts == scoring.templates), "plain")
    negatives = next((name for name, texts in NEGATIVES.items() if texts == scoring.negatives), "none")
    prior = min(PRIORS, key=lambda value: abs(value - scoring.prior))
    presence = min(PRESENCES, key=lambda value: abs(value - scoring.presence))
    return Row(VIEW, OVERLAP, wording, negatives, prior, presence, NESTED[0])


def sit(exams: Iterable[Exam], encoder: Encoder, scoring: Scoring) -> dict[Row, Answers]:
    """The answers of every row. scoring: the encoder's own; its floor is that of all rows."""
    texts = {
        (wording, negatives): Texts(encoder.encode_text, Scoring(WORDINGS[wording], NEGATIVES[negatives]))
        for wording, negatives in product(WORDINGS, NEGATIVES)
    }
    answers = {row: Answers() for row in rows(default_row(scoring))}
    alike = defaultdict(list)
    for row in answers:
        alike[row.view, row.wording, row.negatives].append(row)
    for exam in exams:
        for (view, *names), group in alike.items():
            odds, whole = odds_of(exam, view, texts[names[0], names[1]], encoder.logit_scale, scoring.floor)
            for row in group:
                mixed = (1 - row.presence) * odds + row.presence * whole + row.prior * exam.prior
                answer(answers[row], row, exam, mixed[:, exam.kept[row.overlap]])
    return answers


def odds_of(exam: Exam, view: str, texts: Texts, scale: float, floor: float) -> tuple[LogOdds, LogOdds]:
    """Log-odds of segments ``(Q, N)`` and picture ``(Q, 1)``, of the present prompts and then the absent."""
    views = members("ensemble") if view == "ensemble" else view.split("+")
    crops = averaged([exam.crops[member] for member in views])
    prompts = exam.present + exam.absent
    asked = [(texts.prompt(prompt), texts.negatives(prompt)) for prompt in prompts]
    odds = [log_odds(crops, *features, scale, floor) for features in asked]
    whole = [log_odds(exam.whole, *features, scale, floor) for features in asked]
    return np.array(odds), np.array(whole)


def answer(answers: Answers, row: Row, exam: Exam, odds: LogOdds) -> None:
    """Note the best of the segments that the row's filter keeps, for every prompt; there may be none.

    odds: theirs, ``(Q, N)``.
    """
    kept = exam.kept[row.overlap]
    best = odds.max(axis=1, initial=-np.inf)
    answers.present += best[: len(exam.present)].tolist()
    answers.absent += best[len(exam.present) :].tolist()
    segments = [exam.segments[index] for index in kept]
    for right, one in zip(exam.right, odds, strict=False):
        settled = settle_nested(one, segments) if row.nested == "whole" else one
        answers.right.append(bool(kept) and bool(right[kept[int(settled.argmax())]]))


def table(answers: Mapping[Row, Answers], chosen: Sequence[Row], against: Row) -> str:
    """The chosen rows in Markdown, each paired with ``against``; the best of them is bold."""
    best = max(chosen, key=lambda row: _order(answers, row))
    lines = []
    for row in chosen:
        mine = answers[row]
        paired = compare(zip(mine.found, answers[against].found, strict=True))
        refused = [not passed for passed in mine.accepted]
        told = f"{paired.first_only} / {paired.second_only}, p = {paired.p:.2g}"
        names = [str(getattr(row, name)) for name in Row.__dataclass_fields__]
        names[0] = f"**{names[0]}**" if row == best else names[0]
        shares = [percent(flags) for flags in (mine.right, refused, mine.found)]
        lines.append([*names, *shares, f"{mine.auroc:.4f}", "the default" if row == against else told])
    columns = ("right", "refused", "found", "AUROC", "only this / only the default found")
    return markdown((*Row.__dataclass_fields__, *columns), lines)


def percent(flags: Sequence[bool]) -> str:
    """How many are true, in percent, with the 95 % interval."""
    low, high = wilson(sum(flags), len(flags))
    return f"{100 * sum(flags) / len(flags):.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _order(answers: Mapping[Row, Answers], row: Row) -> tuple[float, float]:
    return sum(answers[row].found), answers[row].auroc


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--first", type=int, default=FIRST_SCENE, help="seed of the first scene")
    parser.add_argument("--clip", default="tiny")
    parser.add_argument("--data", help="labelled pictures, in place of scenes")
    parser.add_argument("--composites", type=int, default=50)
    parser.add_argument("--pred-iou-thresh", type=float)
    parser.add_argument("--stability-thresh", type=float)
    parser.add_argument("--rows", type=int, default=20, help="how many of the best to print")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start = perf_counter()
    compute, options = resolve("cpu"), propose_options("tiny")
    options = options.but(
        pred_iou_thresh=arguments.pred_iou_thresh, stability_thresh=arguments.stability_thresh
    )
    encoder = load_encoder(arguments.clip, None, compute)
    examiner = Examiner(load_proposer("tiny", options, compute), encoder)
    if arguments.data:
        asked = replace(EVAL, count=arguments.composites)
        exams, count = examiner.composites(open_set(arguments.data), asked), arguments.composites
    else:
        exams, count = examiner.scenes(arguments.first, arguments.scenes), arguments.scenes
    scoring = scoring_of(arguments.clip)
    answers = sit(track(exams, "pictures", total=count), encoder, scoring)
    report(answers, default_row(scoring), arguments.rows)
    print(f"{machine('torch', 'open_clip_torch')}; {perf_counter() - start:.0f} s")


def report(answers: Mapping[Row, Answers], default: Row, most: int) -> None:
    """Print the best rows, those that differ from the default in one respect, and the best ensembles."""
    ordered = sorted(answers, key=lambda row: _order(answers, row), reverse=True)
    joined = set(ensembles(default))
    plain = [row for row in ordered if row not in joined]
    print(f"The best {most} of {len(plain)} ways:")
    print(table(answers, plain[:most], default))
    print("\nThe default, and one thing done otherwise:")
    print(table(answers, [row for row in plain if row.differences(default) <= 1], default))
    print(f"\nThe best {most} of {len(joined)} ensembles, all else as in the default:")
    print(table(answers, [row for row in ordered if row in joined][:most], default))
    asked = answers[default]
    print(f"\n{len(asked.present)} prompts for what is there, {len(asked.absent)} for what is not")


if __name__ == "__main__":
    main()
