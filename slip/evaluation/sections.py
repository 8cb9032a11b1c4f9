"""What the reports of all evaluations are put together from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from slip.evaluation.html import Node, element, folded, table
from slip.evaluation.tables import Table


def section(told: Table) -> Iterator[Element]:
    """A table under its title, followed by how to read it."""
    yield element("h2", told.title)
    yield table(told.columns, told.rows)
    yield element("p", told.note)


def folded_table(told: Table, title: str) -> Element:
    """A long table that opens when its title is clicked."""
    return folded(title, element("p", told.note), table(told.columns, told.rows))


def in_lines(lines: Iterable[str]) -> Iterator[Node]:
    """Lines of text with breaks between them."""
    for number, line in enumerate(lines):
        if number:
            yield element("br")
        yield line


def how_it_was_run(run: Mapping[str, Any]) -> Iterator[Element]:
    """The end of every report: what ``run.json`` holds."""
    yield element("h2", "How it was run")
    yield folded("run.json", table(("", "value"), _rows(run)))


def _rows(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in run.items():
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
