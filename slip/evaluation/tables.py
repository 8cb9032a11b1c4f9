"""The figures in words and tables, the same on the terminal and in the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from slip.evaluation.scores import Confusions, Mean, Scores, Share
from slip.evaluation.summary import ModelSummary, Paper, Summary

NONE = "-"
LISTED = 20
"""Confusions that a table spells out."""

BUILT_IN = "built-in weights"


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; the first column names the row. note: how to read it."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def percent(share: float) -> str:
    """A share from 0 to 1, as "15.25 %"."""
    return f"{100 * share:.2f} %"


def share(figure: Share | None) -> str:
    """As "61/400 = 15.25 % (12.1 to 19.1)"."""
    if figure is None:
        return NONE
    low, high = figure.interval
    return f"{figure.right}/{figure.trials} = {percent(figure.value)} ({100 * low:.1f} to {100 * high:.1f})"


def mean(figure: Mean | None) -> str:
    """As ".763 (.755 to .771)", with the trials."""
    if figure is None:
        return NONE
    low, high = figure.interval
    return f"{figure.value:.3f} ({low:.3f} to {high:.3f}) of {figure.trials}"


def probability(p: float) -> str:
    """A p value; the smallest are only said to be small."""
    return f"{p:.3f}" if p >= 0.001 else "< .001"


def notes(summary: Summary) -> Iterator[str]:
    """What a reader of the figures must know first."""
    run = summary.run
    built_in = [run["sam"], *run["models"]]
    if any(about["built_in"] for about in built_in):
        named = ", ".join(about["name"] for about in built_in if about["built_in"])
        yield (
            f"Figures from {BUILT_IN} ({named}), which know drawings, not photographs. "
            "They say nothing of the published models."
        )
    if run["split"]["side"] == "all":
        yield "All pictures were used: of a fine-tuned model or a judge, perhaps those it was trained on."
    if run["judge"] is None:
        yield "No judge was given: tile accuracy and IoU only."
    if summary.uncovered:
        yield (
            f"The judge does not know {_counted(summary.uncovered)}: these prompts are left out of the "
            "judged accuracy."
        )
    if summary.paper and summary.paper.unmatched:
        yield (
            f"The judge has no label written like {_counted(summary.paper.unmatched)}: in the published "
            "reading these prompts cannot be right."
        )


def _counted(labels: Mapping[str, int]) -> str:
    named = ", ".join(f"{label!r} ({count})" for label, count in labels.items())
    many = f"{len(labels)} class{'' if len(labels) == 1 else 'es'} of {sum(labels.values())} prompts"
    return f"{many}: {named}"


def main_tables(summary: Summary) -> list[Table]:
    """What the terminal shows, too: the figures, the paper's reading, who is better, judge against tile."""
    tables = [_figures(summary)]
    if summary.paper:
        tables += _paper(summary, summary.paper)
    if summary.comparisons:
        tables.append(_comparisons(summary))
    if summary.run["judge"]:
        tables.append(_disagreements(summary))
    return tables


def _figures(summary: Summary) -> Table:
    cells: dict[str, Callable[[Scores], str]] = {
        "tile accuracy": lambda scores: share(scores.tile),
        "judged accuracy": lambda scores: share(scores.judged),
        "mean IoU": lambda scores: mean(scores.iou),
        "IoU >= .5": lambda scores: share(scores.good),
        "ceiling of IoU >= .5": lambda scores: share(scores.ceiling),
        "some segment in the tile": lambda scores: share(scores.reachable),
        "trials without a segment": lambda scores: str(scores.unsegmented),
    }
    rows = ((name, *(cell(model.scores) for model in summary.models)) for name, cell in cells.items())
    return Table(
        "Figures",
        "Right/trials = share (95 % interval: Wilson's; of a mean, bootstrap). The trials of a composite "
        "share one picture; the intervals take them as independent. Tile accuracy: more than half of the "
        "chosen segment lies in a tile of the class asked for. Judged accuracy: the judge gives it that "
        "class. Ceiling: some segment has IoU >= .5 with the true mask. Some segment in the tile: one lies "
        "in it and covers a tenth of it. A trial without a segment is wrong.",
        ("", *map(described, summary.models)),
        tuple(row for row in rows if set(row[1:]) != {NONE}),
    )


def described(model: ModelSummary) -> str:
    """A model's name and what its weights are."""
    if model.about["built_in"]:
        return f"{model.name} ({BUILT_IN})"
    return f"{model.name} (fine-tuned)" if model.about["finetuned"] else model.name


def _paper(summary: Summary, paper: Paper) -> Iterator[Table]:
    judged = {model.name: model.scores.judged for model in summary.models}
    rows = []
    for one in paper.models:
        reading = one.reading
        rows.append(
            (
                one.model,
                f"{reading.right}/{reading.counted} = {percent(reading.share)}",
                f"{reading.scored} of {reading.counted}",
                percent(reading.ceiling),
                share(judged[one.model]),
            )
        )
    yield Table(
        "As published, and corrected",
        "As published, of a model that was not fine-tuned only the last prompt of each composite is scored, "
        "of a fine-tuned one red and blue are swapped in its crops; labels match as written or not at all.",
        ("model", "as published", "prompts scored", "could reach at most", "judged, corrected"),
        tuple(rows),
    )
    if paper.same_tiles:
        yield Table(
            "The same last tiles",
            "What the published runs have in common. p: McNemar's exact test.",
            ("models", "first", "second", "first alone right", "second alone right", "p"),
            tuple(
                (
                    f"{first} | {second}",
                    f"{same.first_right}/{same.paired.trials}",
                    f"{same.second_right}/{same.paired.trials}",
                    str(same.paired.first_only),
                    str(same.paired.second_only),
                    probability(same.paired.p),
                )
                for first, second, same in paper.same_tiles
            ),
        )


def _comparisons(summary: Summary) -> Table:
    return Table(
        "Which model is better",
        "Trials that one of two models alone got right. p: McNemar's exact test, two-sided.",
        ("models", "by", "trials", "first alone right", "second alone right", "p"),
        tuple(
            (
                f"{one.first} | {one.second}",
                one.measure,
                str(one.paired.trials),
                str(one.paired.first_only),
                str(one.paired.second_only),
                probability(one.paired.p),
            )
            for one in summary.comparisons
        ),
    )


def _disagreements(summary: Summary) -> Table:
    rows = []
    for model in summary.models:
        scores = model.scores
        asked = scores.judged.trials if scores.judged else 0
        rows.append((model.name, str(scores.judge_alone), str(scores.tile_alone), str(asked)))
    return Table(
        "The judge against the tile",
        "Where the two disagree, of the trials whose class the judge knows.",
        ("model", "judge right, wrong tile", "right tile, judge wrong", "trials"),
        tuple(rows),
    )


def class_table(summary: Summary) -> Table:
    """Every class that was asked for, by every model."""
    of = [{one.label: one for one in model.classes} for model in summary.models]
    columns = ["class"]
    for model in summary.models:
        columns += [f"{model.name}: tile", f"{model.name}: judged", f"{model.name}: mean IoU"]
    rows = []
    for label in sorted({label for own in of for label in own}):
        row = [label]
        for own in of:
            one = own[label]
            row += [
                f"{one.tile.right}/{one.tile.trials}",
                f"{one.judged.right}/{one.judged.trials}" if one.judged else NONE,
                NONE if one.iou is None else f"{one.iou:.3f}",
            ]
        rows.append(tuple(row))
    return Table("Classes", "Right/trials of each class asked for.", tuple(columns), tuple(rows))


def confusion_tables(model: ModelSummary) -> list[Table]:
    """What was taken for what, the commonest first."""
    wanted = (
        ("chosen instead", ("asked for", "chosen from the tile of", "times"), model.chosen),
        ("judged as something else", ("tile of", "judged as", "times"), model.judged),
    )
    return [
        Table(f"{model.name}: {title}", _rest(rows), columns, _spelt(rows))
        for title, columns, rows in wanted
        if _wrong(rows)
    ]


def _wrong(rows: Confusions) -> Sequence[tuple[str, str, int]]:
    return [row for row in rows if row[0] != row[1]]


def _spelt(rows: Confusions) -> tuple[tuple[str, ...], ...]:
    return tuple((first, second, str(count)) for first, second, count in _wrong(rows)[:LISTED])


def _rest(rows: Confusions) -> str:
    wrong, total = sum(row[2] for row in _wrong(rows)), sum(row[2] for row in rows)
    more = len(_wrong(rows)) - LISTED
    return f"{wrong} of {total} trials" + (f"; {more} rarer kinds are in results.json." if more > 0 else ".")
