"""Sets of parts by what the user calls them."""

from __future__ import annotations

import stat
import warnings
from pathlib import Path

from slip.data.parts.critters import CRITTERS_PARTS, CritterParts
from slip.data.parts.files import open_coco
from slip.data.parts.layouts import find_annotations
from slip.data.parts.records import PartSet
from slip.data.paths import kind_of
from slip.errors import ImageError, SlipWarning, UsageError
from slip.types import Progress

ANNOTATIONS = ".json"


def open_parts(source: str, progress: Progress | None = None) -> PartSet:
    """The set of parts that ``source`` names: ``critters-parts``, a folder, or annotations in a .json.

    progress: called as ``progress("read pictures", done, total)``.

    Raises UsageError for anything else, and as open_coco does; ImageError.
    """
    path, kind = Path(source), kind_of(source)
    if source == CRITTERS_PARTS:
        if kind:
            warnings.warn(
                f"{source!r} is the set that is drawn; write ./{source} for the folder of that name",
                SlipWarning,
                stacklevel=2,
            )
        return CritterParts()
    if stat.S_ISDIR(kind) or (stat.S_ISREG(kind) and path.suffix.lower() == ANNOTATIONS):
        return open_coco(path, progress)
    wrong = "is no set of parts" if kind else "does not exist"
    raise UsageError(
        f"{source!r} {wrong}; give a folder or a .json with annotations in COCO's form, or {CRITTERS_PARTS!r}"
    )


def is_parts(source: str) -> bool:
    """Whether ``source`` names a set of parts, if it names a set at all; its contents are not checked.

    So are ``critters-parts``, any .json, and a folder with annotations in COCO's form in it.
    """
    if source == CRITTERS_PARTS or Path(source).suffix.lower() == ANNOTATIONS:
        return True
    try:
        return stat.S_ISDIR(kind_of(source)) and bool(find_annotations(Path(source)))
    except ImageError:
        return False
