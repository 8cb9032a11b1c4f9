"""Class folders: ``SET/Abra/1.png`` is a picture of the class ``Abra``."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from slip.data.files import Entry, FileSet, read_files
from slip.data.pictures import fill_caption
from slip.errors import ImageError, UsageError
from slip.options import CAPTION
from slip.types import Progress

RESULTS = ("mask", "overlay", "cutout", "segments")
"""What ``slip segment`` puts between a picture's stem and the suffix of what it makes of it."""

_Found = tuple[str, str | None]
"""A name below the root, and why it is left out, if it is."""


def open_folders(folder: Path, caption: str = CAPTION, progress: Progress | None = None) -> FileSet:
    """Read a folder of class folders; whatever lies below a class folder belongs to the class.

    Hidden files and folders, files outside class folders, results of ``slip segment`` and what is no
    picture are left out and listed. Raises UsageError for fewer than two classes, two whose names
    differ in case alone, and a caption without its place for the class; ImageError for a folder that
    cannot be listed.
    """
    fill_caption(caption, "")
    try:
        found = list(_walk(folder))
    except OSError as error:
        raise ImageError(
            f"cannot read the folder {str(folder)!r}: {error.strerror or error}; check its permissions"
        ) from error
    if not any("/" in name for name, _ in found):
        raise UsageError(
            f"{str(folder)!r} holds no class folders with files in them; "
            "give a folder that holds a folder of pictures for each class"
        )
    entries = []
    for name, reason in found:
        if reason is None:
            label = name.partition("/")[0]
            entries.append(Entry(name, label, fill_caption(caption, label)))
    left_out = [(name, reason) for name, reason in found if reason is not None]
    return read_files(folder, folder, entries, left_out, progress=progress)


def _walk(root: Path) -> Iterator[_Found]:
    """Everything below ``root``. Raises OSError where ``root`` itself cannot be listed."""
    for name, path, is_folder in _list(root, ""):
        if name.startswith("."):
            yield name, "is hidden"
        elif is_folder:
            yield from _walk_class(name, path, (_identity(root),))
        else:
            yield name, "lies in no class folder"


def _walk_class(name: str, folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[_Found]:
    """Everything below a class folder. above: the folders it lies in, to notice a link back to one."""
    try:
        here = _identity(folder)
        listed = _list(folder, f"{name}/")
    except OSError as error:
        yield f"{name}/", f"cannot be listed: {error.strerror or error}"
        return
    if here in above:
        yield f"{name}/", "is a link to a folder that it lies in"
        return
    if not listed:
        yield f"{name}/", "is empty"
    for inner, path, is_folder in listed:
        if path.name.startswith("."):
            yield inner, "is hidden"
        elif is_folder:
            yield from _walk_class(inner, path, (*above, here))
        else:
            yield inner, "was written by slip segment" if _is_result(path) else None


def _is_result(path: Path) -> bool:
    """Whether a file is a result that lies beside the picture it was made of."""
    name, _, rank = path.stem.rpartition(".")
    source, _, kind = (name if rank.isdigit() else path.stem).rpartition(".")
    if not source or kind not in RESULTS:
        return False
    return any(other.stem == source for other in path.parent.glob(f"{glob.escape(source)}.*"))


def _list(folder: Path, prefix: str) -> list[tuple[str, Path, bool]]:
    """Name, path and kind of what a folder holds, sorted. Raises OSError."""
    with os.scandir(folder) as listed:
        return sorted((prefix + entry.name, Path(entry.path), _is_folder(entry)) for entry in listed)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle, or where one may not go
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
