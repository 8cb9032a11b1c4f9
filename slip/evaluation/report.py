"""The report of an evaluation: one page of HTML with its pictures inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

from slip.evaluation.examples import Example
from slip.evaluation.html import element, jpeg, page
from slip.evaluation.sections import folded_table, how_it_was_run, in_lines, section
from slip.evaluation.summary import Summary
from slip.evaluation.tables import class_table, confusion_tables, main_tables, notes

Galleries = Mapping[str, Mapping[str, Sequence[Example]]]
"""By model and by kind: "Right tile" and so on."""


def report(summary: Summary, galleries: Galleries) -> bytes:
    """The page; it needs nothing but itself."""
    title = f"slip eval: {summary.run['data']}"
    classes = class_table(summary)
    return page(
        title,
        element("h1", title),
        element("p", _subtitle(summary)),
        *(element("p", line, class_="note") for line in notes(summary)),
        *(part for told in main_tables(summary) for part in section(told)),
        element("h2", "Class by class"),
        folded_table(classes, f"{classes.title}: {len(classes.rows)}"),
        *_confusions(summary),
        *_galleries(galleries),
        *how_it_was_run(summary.run),
    )


def _subtitle(summary: Summary) -> str:
    run = summary.run
    side = "held-out pictures" if run["split"]["side"] == "validation" else "all pictures"
    return (
        f"{run['count']} composites of four {run['tile']}-pixel tiles, {run['pictures']} {side} of "
        f"{run['classes']} classes, protocol {run['protocol']}, seed {run['seed']}."
    )


def _confusions(summary: Summary) -> Iterator[Element]:
    tables = [told for model in summary.models for told in confusion_tables(model)]
    if tables:
        yield element("h2", "Confusions")
    for told in tables:
        yield folded_table(told, told.title)


def _galleries(galleries: Galleries) -> Iterator[Element]:
    yield element("h2", "Pictures")
    yield element(
        "p",
        "The tile that was asked for is framed with dashes; the chosen segment is lit and outlined. "
        "Beside the words, the segment as CLIP saw it.",
    )
    for model, kinds in galleries.items():
        for kind, examples in kinds.items():
            if examples:
                yield element("h3", f"{model}: {kind}")
                yield element("div", *map(_figure, examples), class_="gallery")


def _figure(example: Example) -> Element:
    trial = example.trial
    left, top = 50 * (trial.tile % 2), 50 * (trial.tile // 2)
    scene = element(
        "div",
        jpeg(example.scene, f"composite {trial.composite}"),
        element("div", class_="tile", style=f"left:{left}%;top:{top}%"),
        class_="scene",
    )
    crop = [jpeg(example.crop, "the chosen segment", class_="crop")] if example.crop else []
    return element("figure", scene, *crop, element("figcaption", *in_lines(_caption(example))))


def _caption(example: Example) -> Iterator[str]:
    trial = example.trial
    yield f"Asked: {trial.text}"
    if trial.chosen is None:
        yield "Nothing was found to choose from."
        return
    yield f"Chosen: {trial.chosen_label or 'in no single tile'}"
    if trial.judged is not None:
        yield f"Judged: {trial.judged}"
    if trial.iou is not None and trial.best_iou is not None:
        yield f"IoU {trial.iou:.2f}, best of {trial.segments} segments {trial.best_iou:.2f}"
    yield f"Composite {trial.composite}, tile {trial.tile}"
