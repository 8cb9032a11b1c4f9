"""Tables that users write: CSV with a header, or JSONL with an object a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slip.errors import ImageError, UsageError


@dataclass(frozen=True)
class Row:
    """A row of a table. line: where it stands, counted from 1."""

    table: Path
    line: int
    cells: Mapping[str, Any]

    def text(self, column: str) -> str | None:
        """A cell as text without blanks around it; None where there is nothing. Raises UsageError."""
        return self.as_text(column, self.cells.get(column))

    def as_text(self, column: str, value: Any) -> str | None:
        """A value of a column as ``text`` gives it. Raises UsageError for what is no text."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise self.bad(f"the {column} is no text; write it in quotes")
        text = str(value).strip()
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self.bad(f"the {column} holds half a character; write it as UTF-8") from None
        return text or None

    def bad(self, what: str) -> UsageError:
        """The error to raise for this row."""
        return _bad(self.table, self.line, what)


def read_rows(path: Path, columns: Sequence[str], needed: Sequence[set[str]], remedy: str) -> list[Row]:
    """The rows of a table, of which there is one at least.

    columns: those that may not stand twice in a header; others are ignored. needed: of each of these
    sets, a header must have one. remedy: for messages, which columns to give.

    Raises UsageError for a table that is no such table, naming the line, and for one without rows;
    ImageError for a file that cannot be read.
    """
    text = _text(path)
    if not text.strip():
        raise UsageError(f"{str(path)!r} is empty; {remedy}")
    if path.suffix.lower() == ".csv":
        rows = list(_csv_rows(path, text, columns, needed, remedy))
    else:
        rows = list(_jsonl_rows(path, text))
    if not rows:
        raise UsageError(f"{str(path)!r} has a header and no rows; add a row for each picture")
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{str(path)!r} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ImageError(f"cannot read {str(path)!r}: {error.strerror or error}; check the path") from error


def _csv_rows(
    path: Path, text: str, columns: Sequence[str], needed: Sequence[set[str]], remedy: str
) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader)]
        twice = next((column for column in columns if header.count(column) > 1), None)
        if twice:
            raise UsageError(f"{str(path)!r} has the column {twice!r} twice; rename one")
        if not all(choice & set(header) for choice in needed):
            raise UsageError(f"the first line of {str(path)!r} is {','.join(header)!r}; {remedy}")
        for cells in reader:
            if len(cells) not in (0, len(header)):
                raise _bad(path, reader.line_num, f"has {len(cells)} values for {len(header)} columns")
            if cells:
                yield Row(path, reader.line_num, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise _bad(path, reader.line_num, f"is not CSV: {error}; check its quotes") from None


def _jsonl_rows(path: Path, text: str) -> Iterator[Row]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            cells = json.loads(content)
        except (ValueError, RecursionError):
            raise _bad(path, line, "is not JSON; write an object a line") from None
        if not isinstance(cells, dict):
            raise _bad(path, line, "is not a JSON object; write an object a line")
        yield Row(path, line, cells)


def _bad(path: Path, line: int, what: str) -> UsageError:
    return UsageError(f"line {line} of {str(path)!r}: {what}")
