"""Data sets by what the user calls them."""

from __future__ import annotations

import stat
import warnings
from pathlib import Path

from slip.data.drawn import CRITTERS_NAME, DrawnSet
from slip.data.folders import open_folders
from slip.data.parts import PartCrops, is_parts, open_parts
from slip.data.parts.critters import CRITTERS_PARTS
from slip.data.paths import kind_of
from slip.data.pictures import PictureSet
from slip.data.tables import open_table
from slip.errors import SlipWarning, UsageError
from slip.options import CAPTION
from slip.types import Progress

TABLES = (".csv", ".jsonl")


def open_set(source: str, caption: str = CAPTION, progress: Progress | None = None) -> PictureSet:
    """The set of pictures that ``source`` names: ``critters``, a folder of class folders, or a table.

    Of a set of pictures with parts (``open_parts``) it is the parts, each cut out with what is around it.

    caption: what CLIP is told of a class; ``{}`` is the class's name.
    progress: called as ``progress("read pictures", done, total)``.

    Raises UsageError for anything else, and as open_folders, open_table and open_parts do; ImageError.
    """
    path, kind = Path(source), kind_of(source)
    if source == CRITTERS_NAME:
        if kind:
            warnings.warn(
                f"{source!r} is the set that is drawn; write ./{source} for the folder of that name",
                SlipWarning,
                stacklevel=2,
            )
        return DrawnSet(caption)
    if is_parts(source):
        return PartCrops(open_parts(source, progress), caption)
    if stat.S_ISDIR(kind):
        return open_folders(path, caption, progress)
    if stat.S_ISREG(kind) and path.suffix.lower() in TABLES:
        return open_table(path, caption, progress)
    wrong = "is no data set" if kind else "does not exist"
    raise UsageError(
        f"{source!r} {wrong}; give a folder of class folders, a .csv or .jsonl table, or {CRITTERS_NAME!r}, "
        f"or a set with masks of parts, as {CRITTERS_PARTS!r} (see slip data --help)"
    )
