"""Figures as tables of text and as notes: the same words in the terminal and in the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isnan

from slip.data.parts import SIDES
from slip.evaluation.referring.metrics import THRESHOLDS, Figure, PartScore, Scores
from slip.evaluation.referring.summary import MethodSummary, Summary
from slip.evaluation.tables import BUILT_IN, NONE, Table, percent

BOUND = "upper bound"
FEW = 30
"""Pictures below which a bootstrap over them is told to be too sure."""


def mean(figure: Figure) -> str:
    """As "0.763 (0.755 to 0.771)"."""
    if isnan(figure.low):
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def share(figure: Figure) -> str:
    """As "15.25 % (12.1 to 19.1)"."""
    if isnan(figure.low):
        return percent(figure.value)
    return f"{percent(figure.value)} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def difference(figure: Figure, measure: str) -> str:
    """As "+0.120 (+0.080 to +0.161)", of shares in percentage points."""
    scale, digits = (100, 1) if measure.startswith("Precision") else (1, 3)
    value, low, high = (f"{scale * end:+.{digits}f}" for end in (figure.value, figure.low, figure.high))
    return f"{value} ({low} to {high})"


def notes(summary: Summary) -> Iterator[str]:
    """What a reader of the figures must know first."""
    run, methods = summary.run, summary.methods
    searched = [run["sam"]["name"]] if run["sam"] and run["sam"]["built_in"] else []
    built_in = [*searched, *(one.name for one in methods if one.about["built_in"])]
    if built_in:
        yield (
            f"Figures from {BUILT_IN} ({', '.join(built_in)}), which know drawings, not photographs. "
            "They say nothing of the published models."
        )
    trained = [f"{one.name} on {one.about['trained']}" for one in methods if one.about["trained"]]
    if trained:
        yield f"Trained by slip finetune: {', '.join(trained)}. They say nothing of published weights."
    if bounds := [one.name for one in methods if one.oracle]:
        yield (
            f"Upper bounds, not methods: {', '.join(bounds)}. Of all they find, the segment that fits the "
            "truth best counts, which nobody can choose without knowing it."
        )
    if summary.pictures < FEW:
        yield f"Only {summary.pictures} pictures: the intervals are too narrow."
    yield from _seen(summary)


def _seen(summary: Summary) -> Iterator[str]:
    """Methods that know the pictures they are measured on."""
    side = summary.run["side"]
    taught = [one.name for one in summary.methods if set(one.about["taught"]).intersection(_whole(side))]
    if taught:
        yield (
            f"Trained on pictures it is measured with here: {', '.join(taught)}. These figures say how well "
            "it remembers, not how well it works."
        )
    chosen = [one.name for one in summary.methods if one.about["taught"] and one.name not in taught]
    if chosen and side == "validation":
        yield (
            f"The validation pictures chose the epoch of {', '.join(chosen)}: figures on them are a little "
            "too good."
        )


def _whole(side: str) -> Sequence[str]:
    """The sides that a side is made of."""
    return SIDES if side == "all" else (side,)


def main_tables(summary: Summary) -> list[Table]:
    """What the terminal shows, too: the figures, and who is better."""
    return [_figures(summary), *([_differences(summary)] if summary.differences else [])]


def described(method: MethodSummary) -> str:
    """A method's name and what is to be known of its figures."""
    about = [BUILT_IN] * bool(method.about["built_in"]) + [BOUND] * method.oracle
    return f"{method.name} ({', '.join(about)})" if about else method.name


def _figures(summary: Summary) -> Table:
    measures: dict[str, Callable[[Scores], str]] = {
        "mean IoU": lambda scores: mean(scores.iou),
        "overall IoU": lambda scores: mean(scores.overall),
        "mean IoU over parts": lambda scores: mean(scores.over_parts),
        "no answer": lambda scores: f"{scores.unanswered} of {scores.triples}",
    }
    rows = [(name, *(cell(one.scores) for one in summary.methods)) for name, cell in measures.items()]
    rows[3:3] = [
        (f"Precision@{threshold:g}", *(share(one.scores.precision[index]) for one in summary.methods))
        for index, threshold in enumerate(THRESHOLDS)
    ]
    rows.append(("seconds a picture", *(_seconds(one.seconds) for one in summary.methods)))
    return Table(
        "Figures",
        f"{summary.triples} triples of a picture, one of its parts and an expression, in {summary.pictures} "
        "pictures; all methods answered all of them. In brackets 95 % intervals: bootstrap over pictures; "
        "where all answers are alike, as with 0 or 100 %, it cannot tell. IoU: intersection / (union "
        "+ 1e-6), at the picture's own size; without an answer 0. Overall IoU: all intersections "
        "over all unions, so that large parts weigh more. Precision@X: share with an IoU above X. "
        "Where methods share a search of the picture, its seconds count for the first of them.",
        ("", *map(described, summary.methods)),
        tuple(rows),
    )


def _seconds(seconds: float | None) -> str:
    return NONE if seconds is None else f"{seconds:.3f}"


def _differences(summary: Summary) -> Table:
    return Table(
        "Which method is better",
        "The first method's figure less the second's, with its 95 % interval: bootstrap over the same "
        "pictures. Where the interval holds 0, they may be as good as each other. Precision in percentage "
        "points.",
        ("methods", "by", "difference"),
        tuple(
            (f"{one.first} | {one.second}", one.measure, difference(one.figure, one.measure))
            for one in summary.differences
        ),
    )


def part_table(summary: Summary) -> Table:
    """Every part, by every method."""
    of = [{one.part: one for one in method.scores.parts} for method in summary.methods]
    columns = ["part", "pictures"]
    for method in summary.methods:
        columns += [f"{method.name}: mean IoU", f"{method.name}: Precision@0.5"]
    rows = [(part, str(of[0][part].triples), *_cells([own[part] for own in of])) for part in of[0]]
    return Table(
        "Parts",
        "Each part, with 95 % intervals: bootstrap over pictures; of a few pictures they are too narrow.",
        tuple(columns),
        tuple(rows),
    )


def _cells(scores: Sequence[PartScore]) -> Iterator[str]:
    for one in scores:
        yield mean(one.iou)
        yield share(one.half)
