"""Where the annotations and the pictures of a set of parts are.

Known: PartImageNet as it is published now (``annotations/train/train.json`` beside ``images/train/``)
and as it was (``train.json`` beside ``train/n01443537/``), a folder for each side with its own
``annotations.json``, and one file of annotations with its pictures beside or below it.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from slip.data.parts.coco import LISTS
from slip.data.parts.records import SIDES, Side
from slip.errors import ImageError, SlipWarning, UsageError

DEPTH = 3
"""Levels below the folder at which annotations are looked for; the file's own name is one."""

_ROOMS = ("", "images", "JPEGImages")
"""Folders that pictures are kept in, beside annotations."""
_SIDES: dict[str, Side] = {
    **dict.fromkeys(("train", "training", "trainset", "trainingset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "validset", "validationset"), "validation"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
"""The words in the names of files and folders by which sides are known."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Layout:
    """A set's files. root: what its pictures' names are relative to. annotations: a file for each side."""

    root: Path
    annotations: dict[Side, Path]


def find_layout(source: Path) -> Layout:
    """The layout of a folder, or of one file of annotations.

    Raises UsageError where there are no annotations or several files for one side; ImageError for a
    folder that cannot be listed.
    """
    if not source.is_dir():
        source = source.absolute()
        root = _root_of(source)
        return Layout(root, {side_of(source.relative_to(root)) or "train": source})
    by_side: dict[Side, list[Path]] = defaultdict(list)
    for path in find_annotations(source):
        by_side[side_of(path.relative_to(source)) or "train"].append(path)
    if not by_side:
        raise UsageError(
            f"{str(source)!r} holds no annotations of parts; give a folder with a .json in COCO's form, "
            f"{DEPTH} levels down at most"
        )
    return Layout(source, {side: _choose(by_side[side], side) for side in SIDES if side in by_side})


def find_annotations(folder: Path) -> list[Path]:
    """The files in a folder that look like annotations in COCO's form, sorted. Raises ImageError.

    Of several links to one file the one that lies least deep counts.
    """
    try:
        found = [path for path in _json_files(folder, DEPTH) if looks_like_coco(path)]
        deepest_first = sorted(found, key=lambda path: (len(path.parts), path), reverse=True)
        return sorted({os.path.realpath(path): path for path in deepest_first}.values())
    except OSError as error:
        where = error.filename or folder
        raise ImageError(
            f"cannot read {str(where)!r}: {error.strerror or error}; check its permissions"
        ) from error


def looks_like_coco(path: Path) -> bool:
    """Whether the names of all three lists stand in a file; it is not parsed. Raises OSError."""
    missing = {f'"{name}"'.encode() for name in LISTS}
    longest, before = max(map(len, missing)), b""
    with path.open("rb") as stream:
        while missing and (chunk := stream.read(_CHUNK)):
            block = before + chunk
            missing = {name for name in missing if name not in block}
            before = block[-longest:]
    return not missing


def side_of(path: Path) -> Side | None:
    """The side that a relative path names, its last part first; None where it names none.

    >>> side_of(Path("testset/annotations.json")), side_of(Path("instances_val2017.json"))
    ('test', 'validation')
    """
    for part in reversed(path.with_suffix("").parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in _SIDES:
                return _SIDES[word]
    return None


@dataclass(frozen=True)
class Finder:
    """Where the pictures of one file of annotations are. root: of the set; annotations: the file."""

    root: Path
    annotations: Path

    def find(self, names: Sequence[str]) -> str | None:
        """The name of a picture relative to the root, whichever of ``names`` it has; None if missing.

        Folders are tried from the annotations upwards, and ``n01_7.JPEG`` in ``n01/`` as well.
        """
        for name in names:
            for folder in self._folders:
                for told in (name, f"{Path(name).stem.partition('_')[0]}/{name}"):
                    path = folder / told
                    if os.path.isfile(path):  # noqa: PTH113  (it refuses no name)
                        return path.relative_to(self.root).as_posix()
        return None

    @cached_property
    def _folders(self) -> tuple[Path, ...]:
        """Those that there are, in the order to try."""
        return tuple(dict.fromkeys(folder for folder in self._likely() if folder.is_dir()))

    def _likely(self) -> Iterator[Path]:
        near = self.annotations.parent
        said = (near.name, self.annotations.stem)
        for above in (near, *near.parents):
            for room in _ROOMS:
                yield from (above / room / side for side in ("", *dict.fromkeys(said)))
            if above == self.root:
                return


def _json_files(folder: Path, depth: int) -> Iterator[Path]:
    """Those that are not hidden. Raises OSError where the outermost folder cannot be listed."""
    with os.scandir(folder) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        with suppress(OSError):  # a folder one may not look into, a link in a circle
            if entry.is_dir():
                if depth > 1:
                    yield from _json_files(Path(entry.path), depth - 1)
            elif entry.name.lower().endswith(".json") and entry.is_file():
                yield Path(entry.path)


def _root_of(file: Path) -> Path:
    """The folder that a file of annotations speaks of: above ``annotations/``, if it lies in it."""
    for above in list(file.parents)[:2]:
        if above.name.lower() == "annotations":
            return above.parent
    return file.parent


def _choose(paths: Sequence[Path], side: Side) -> Path:
    """The one file of a side. Of several, the one that bears a side's name alone, with a SlipWarning."""
    if len(paths) == 1:
        return paths[0]
    named = ", ".join(repr(str(path)) for path in paths[:3])
    bare = [path for path in paths if path.stem.lower() in (*_SIDES, side)]
    if len(bare) != 1:
        raise UsageError(f"there are {len(paths)} files of annotations for {side}: {named}; keep one of them")
    warnings.warn(
        f"of {len(paths)} files of annotations for {side} {str(bare[0])!r} is read", SlipWarning, stacklevel=4
    )
    return bare[0]
