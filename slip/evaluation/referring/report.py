"""The report of an evaluation: one page of HTML with its pictures inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

from slip.charts import line_chart
from slip.evaluation.html import element, jpeg, page, png
from slip.evaluation.referring.examples import Example
from slip.evaluation.referring.summary import Summary
from slip.evaluation.referring.tables import main_tables, notes, part_table
from slip.evaluation.sections import folded_table, how_it_was_run, in_lines, section
from slip.images import encode_png
from slip.types import Image

Galleries = Mapping[str, Sequence[Example]]
"""By kind: "best" and so on."""


def report(summary: Summary, galleries: Galleries) -> bytes:
    """The page; it needs nothing but itself."""
    title = f"slip eval: {summary.run['data']}"
    parts = part_table(summary)
    return page(
        title,
        element("h1", title),
        element("p", _subtitle(summary)),
        *(element("p", line, class_="note") for line in notes(summary)),
        *(part for told in main_tables(summary) for part in section(told)),
        element("h2", "Precision@X"),
        png(encode_png(_curves(summary)), "Precision@X of every method", style="max-width: 100%"),
        element("h2", "Part by part"),
        folded_table(parts, f"{parts.title}: {len(parts.rows)}"),
        *_galleries(galleries),
        *how_it_was_run(summary.run),
    )


def _subtitle(summary: Summary) -> str:
    side = summary.run["side"]
    told = "all pictures" if side == "all" else f"{summary.pictures} pictures of the {side} side"
    return f"{summary.triples} triples of a picture, a part and an expression; {told}."


def _curves(summary: Summary) -> Image:
    series = {method.name: method.curve for method in summary.methods}
    return line_chart(series, f"{summary.triples} triples", "X", "share of answers with an IoU above X")


def _galleries(galleries: Galleries) -> Iterator[Element]:
    yield element("h2", "Pictures")
    yield element(
        "p",
        "First the picture, then what each method answers, lit and outlined in amber. Blue is the outline of "
        "the truth. A picture that is all dim has no answer.",
    )
    for kind, examples in galleries.items():
        if examples:
            yield element("h3", kind[:1].upper() + kind[1:])
        for example in examples:
            yield element("p", _asked(example))
            yield element("div", *_figures(example), class_="gallery")


def _asked(example: Example) -> str:
    asked = example.answers[0]
    return f"“{asked.expression}” in {asked.picture}"


def _figures(example: Example) -> Iterator[Element]:
    asked = example.answers[0]
    told = (f"The truth: {asked.part}, {asked.truth:,} pixels",)
    yield element("figure", jpeg(example.truth, "the picture"), element("figcaption", *in_lines(told)))
    for one, shown in zip(example.answers, example.shown, strict=True):
        score = "" if one.score is None else f", score {one.score:.2f}"
        result = f"IoU {one.iou:.3f}{score}" if one.found else "no answer"
        caption = element("figcaption", *in_lines((one.method, result)))
        yield element("figure", jpeg(shown, f"the answer of {one.method}"), caption)
