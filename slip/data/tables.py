"""Tables of pictures: CSV with a header, or JSONL with an object a line.

``image``: a path, relative to the table's folder. ``label``: the class. ``caption``: what CLIP is told.
One of the last two is enough: a caption alone is its own class, a label alone is put into the template.
``group``, if there is such a column: pictures of the same word are never parted by a split. Other
columns are ignored.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slip.data.files import Entry, FileSet, read_files
from slip.data.pictures import fill_caption
from slip.errors import ImageError, UsageError
from slip.options import CAPTION
from slip.types import Progress

_Row = Mapping[str, Any]
COLUMNS = ("image", "label", "caption", "group")
_REMEDY = "give the columns image, label or caption, and perhaps group"


def open_table(path: Path, caption: str = CAPTION, progress: Progress | None = None) -> FileSet:
    """Read a table of pictures; files that are missing or no pictures are left out and listed.

    Raises UsageError for a table that is no such table, naming the line, for a picture named twice,
    fewer than two classes, two that differ in case alone, and a caption without its place for the
    class; ImageError for a file that cannot be read.
    """
    fill_caption(caption, "")
    rows = list(_rows(path))
    lines: dict[str, int] = {}
    entries = []
    for line, row in rows:
        entry = _entry(path, line, row, caption)
        first = lines.setdefault(entry.name, line)
        if first != line:
            raise _bad(path, line, f"{entry.name!r} is named in line {first} already; keep one of the two")
        entries.append(entry)
    own_groups = any("group" in row for _, row in rows)
    return read_files(path, path.parent, entries, own_groups=own_groups, progress=progress)


def _rows(path: Path) -> Iterator[tuple[int, _Row]]:
    """The rows of a table with their lines, counted from 1."""
    text = _text(path)
    if not text.strip():
        raise UsageError(f"{str(path)!r} is empty; {_REMEDY}")
    rows = list(_csv_rows(path, text) if path.suffix.lower() == ".csv" else _jsonl_rows(path, text))
    if not rows:
        raise UsageError(f"{str(path)!r} has a header and no rows; add a row for each picture")
    return iter(rows)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{str(path)!r} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ImageError(f"cannot read {str(path)!r}: {error.strerror or error}; check the path") from error


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, _Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader)]
        _check_header(path, header)
        for cells in reader:
            if len(cells) not in (0, len(header)):
                raise _bad(path, reader.line_num, f"has {len(cells)} values for {len(header)} columns")
            if cells:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise _bad(path, reader.line_num, f"is not CSV: {error}; check its quotes") from None


def _check_header(path: Path, header: list[str]) -> None:
    twice = next((column for column in COLUMNS if header.count(column) > 1), None)
    if twice:
        raise UsageError(f"{str(path)!r} has the column {twice!r} twice; rename one")
    if "image" not in header or not {"label", "caption"} & set(header):
        raise UsageError(f"the first line of {str(path)!r} is {','.join(header)!r}; {_REMEDY}")


def _jsonl_rows(path: Path, text: str) -> Iterator[tuple[int, _Row]]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError):
            raise _bad(path, line, "is not JSON; write an object a line") from None
        if not isinstance(row, dict):
            raise _bad(path, line, "is not a JSON object; write an object a line")
        yield line, row


def _entry(path: Path, line: int, row: _Row, template: str) -> Entry:
    values = {column: _value(path, line, column, row.get(column)) for column in COLUMNS}
    image, label, caption = values["image"], values["label"], values["caption"]
    if image is None:
        raise _bad(path, line, f"has no image; {_REMEDY}")
    named = label or caption
    if named is None:
        raise _bad(path, line, f"has neither label nor caption; {_REMEDY}")
    file = Path(image)
    if file.is_absolute() and file.is_relative_to(path.parent.absolute()):
        file = file.relative_to(path.parent.absolute())
    told = caption or fill_caption(template, named)
    return Entry(file.as_posix(), named, told, values["group"])


def _value(path: Path, line: int, column: str, value: Any) -> str | None:
    """A cell as text without blanks around it; None where there is nothing."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise _bad(path, line, f"the {column} is no text; write it in quotes")
    text = str(value).strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _bad(path, line, f"the {column} holds half a character; write it as UTF-8") from None
    return text or None


def _bad(path: Path, line: int, what: str) -> UsageError:
    return UsageError(f"line {line} of {str(path)!r}: {what}")
