"""Sets whose pictures are files: read once to know what they hold, decoded again when asked for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from slip.data.duplicates import Fingerprint, fingerprint, group_duplicates
from slip.data.pictures import Picture, check_classes
from slip.errors import ImageError
from slip.images import load_with_alpha
from slip.types import Image, Mask, Progress

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A file that should be a picture. group: what the user says belongs together, if anything."""

    name: str
    label: str
    caption: str
    group: str | None = None


@dataclass(frozen=True)
class FileSet:
    """A PictureSet of files. root: what the pictures' names are relative to."""

    name: str
    root: Path
    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    digest: str

    def load(self, picture: Picture) -> tuple[Image, Mask | None]:
        """Decode a picture; the mask is where its alpha is above 127. Raises ImageError."""
        return load_with_alpha(self.root / picture.name)


@dataclass(frozen=True)
class _Known:
    """What is kept of a file. content: SHA-256 of the file, in hex."""

    content: str
    looks: Fingerprint


def read_files(
    source: Path,
    root: Path,
    entries: Iterable[Entry],
    unreadable: Iterable[tuple[str, str]] = (),
    *,
    own_groups: bool = False,
    progress: Progress | None = None,
) -> FileSet:
    """Read every file once, group the copies, and leave out what is no picture.

    source: the folder or table, for names. unreadable: what was left out before.
    own_groups: near copies are told by the entries' groups rather than by their looks.

    Raises UsageError where fewer than two classes are left, or two look alike.
    """
    called = repr(str(source))
    ordered = sorted(entries, key=lambda entry: entry.name)
    if ordered:
        check_classes((entry.label for entry in ordered), called)
    left_out, kept, known = list(unreadable), [], []
    for entry, found in zip(ordered, _read_all(root, ordered, progress), strict=True):
        if isinstance(found, str):
            left_out.append((entry.name, found))
        else:
            kept.append(entry)
            known.append(found)
    classes = check_classes((entry.label for entry in kept), called)
    own = [entry.group for entry in kept] if own_groups else None
    groups = group_duplicates([file.looks for file in known], own, progress)
    pictures = tuple(
        Picture(entry.name, entry.label, entry.caption, group)
        for entry, group in zip(kept, groups, strict=True)
    )
    digest = digest_of(pictures, [file.content for file in known])
    return FileSet(
        source.resolve().name or str(source), root, pictures, classes, tuple(sorted(left_out)), digest
    )


def digest_of(pictures: Sequence[Picture], contents: Sequence[str]) -> str:
    """SHA-256 over pictures sorted by name and what identifies the content of each, in hex."""
    digest = hashlib.sha256()
    for picture, content in zip(pictures, contents, strict=True):
        line = [picture.name, picture.label, picture.caption, picture.group, content]
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()


def _read_all(root: Path, entries: Sequence[Entry], progress: Progress | None) -> Iterator[_Known | str]:
    """What is known of each file, or why it is left out."""
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        found = pool.map(lambda entry: _read(root / entry.name), entries)
        for done, one in enumerate(found, 1):
            if progress:
                progress("read pictures", done, len(entries))
            yield one
    finally:
        pool.shutdown(cancel_futures=True)


def _read(path: Path) -> _Known | str:
    try:
        if path.exists() and not path.is_file():
            return "is not a plain file"
        image, _ = load_with_alpha(path)
        return _Known(_content(path), fingerprint(image))
    except ImageError as error:
        return str(error).removeprefix(f"{str(path)!r} ")
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _content(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
