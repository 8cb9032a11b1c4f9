"""Tables of pictures: CSV with a header, or JSONL with an object a line.

``image``: a path, relative to the table's folder. ``label``: the class. ``caption``: what CLIP is told.
One of the last two is enough: a caption alone is its own class, a label alone is put into the template.
``group``, if there is such a column: pictures of the same word are never parted by a split. Other
columns are ignored.
"""

from __future__ import annotations

from pathlib import Path

from slip.data.files import Entry, FileSet, read_files
from slip.data.pictures import fill_caption
from slip.options import CAPTION
from slip.rows import Row, read_rows
from slip.types import Progress

COLUMNS = ("image", "label", "caption", "group")
_REMEDY = "give the columns image, label or caption, and perhaps group"


def open_table(path: Path, caption: str = CAPTION, progress: Progress | None = None) -> FileSet:
    """Read a table of pictures; files that are missing or no pictures are left out and listed.

    Raises UsageError for a table that is no such table, naming the line, for a picture named twice,
    fewer than two classes, two that differ in case alone, and a caption without its place for the
    class; ImageError for a file that cannot be read.
    """
    fill_caption(caption, "")
    rows = read_rows(path, COLUMNS, [{"image"}, {"label", "caption"}], _REMEDY)
    lines: dict[str, int] = {}
    entries = []
    for row in rows:
        entry = _entry(row, caption)
        first = lines.setdefault(entry.name, row.line)
        if first != row.line:
            raise row.bad(f"{entry.name!r} is named in line {first} already; keep one of the two")
        entries.append(entry)
    own_groups = any("group" in row.cells for row in rows)
    return read_files(path, path.parent, entries, own_groups=own_groups, progress=progress)


def _entry(row: Row, template: str) -> Entry:
    image, label, caption, group = (row.text(column) for column in COLUMNS)
    if image is None:
        raise row.bad(f"has no image; {_REMEDY}")
    named = label or caption
    if named is None:
        raise row.bad(f"has neither label nor caption; {_REMEDY}")
    folder, file = row.table.parent.absolute(), Path(image)
    if file.is_absolute() and file.is_relative_to(folder):
        file = file.relative_to(folder)
    return Entry(file.as_posix(), named, caption or fill_caption(template, named), group)
