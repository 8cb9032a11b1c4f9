"""One file of annotations in COCO's form, read with no trust in it.

What cannot be read as such a file at all is refused; single records that are broken are left out and
become a Fault each. Polygons and run-length codes are kept as they are until the picture's real size
is known (slip.data.parts.shapes).
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from slip.data.parts.naming import MARKS, part_named, words
from slip.data.parts.records import Fault, Part
from slip.errors import ImageError, UsageError

LISTS = ("images", "annotations", "categories")
"""What a file must hold; more is ignored."""


@dataclass(frozen=True, eq=False)
class Shape:
    """An annotation of a part. segmentation: as in the file, unchecked. where: for faults."""

    part: Part
    segmentation: Any
    where: str


@dataclass(frozen=True, eq=False)
class Listed:
    """A picture as a file of annotations lists it.

    names: what it may be called, relative to some folder, in the order to try. size: (height, width).
    annotated: whether any annotation is of it, the background included.
    """

    names: tuple[str, ...]
    size: tuple[int, int]
    shapes: tuple[Shape, ...]
    annotated: bool


def read_coco(path: Path, called: str) -> tuple[list[Listed], list[Fault]]:
    """The pictures of a file of annotations, and what is broken in it.

    called: what faults call the file.

    Raises UsageError for a file that is no JSON, lacks one of its lists or holds something of another
    type where it matters; ImageError for one that cannot be read.
    """
    file = _File(repr(str(path)), called)
    lists = _lists(path, file)
    categories = file.categories(lists["categories"])
    pictures, faults = file.pictures(lists["images"])
    ambiguous = {picture.key for picture in pictures if picture.names is None}
    shapes: dict[int | str, list[Shape]] = {picture.key: [] for picture in pictures}
    annotated = set()
    seen: Counter[int | str] = Counter()
    for number, annotation in enumerate(lists["annotations"]):
        record = file.record(annotation, "annotation", number)
        where = f"{called}: annotation {_told(record.get('id', number))}"
        key = _key(record.get("image_id"))
        annotated.add(key)
        wrong = _fault_of(record, key, shapes, categories, seen)
        if wrong:
            faults.append(Fault(wrong, where))
        elif key is not None and key not in ambiguous:
            part = categories[record["category_id"]]
            if part is not None:
                shapes[key].append(Shape(part, record.get("segmentation"), where))
    listed = [
        Listed(picture.names, picture.size, tuple(shapes[picture.key]), picture.key in annotated)
        for picture in pictures
        if picture.names is not None
    ]
    return listed, faults


def _fault_of(
    record: Mapping[str, Any],
    key: int | str | None,
    pictures: Mapping[int | str, Any],
    categories: Mapping[int | str, Any],
    seen: Counter[int | str],
) -> str | None:
    """Why an annotation is left out, if it is. seen: how often each id was met so far."""
    own = _key(record.get("id"))
    if own is not None:
        seen[own] += 1
        if seen[own] > 1:
            return "duplicate annotation id"
    if key is None or key not in pictures:
        return "unknown picture"
    category = _key(record.get("category_id"))
    return "unknown category" if category is None or category not in categories else None


@dataclass(frozen=True)
class _Named:
    """A record of a picture. names: None where its id or its names cannot be trusted."""

    key: int | str
    names: tuple[str, ...] | None
    size: tuple[int, int]


@dataclass(frozen=True)
class _File:
    """The file that is read, for messages. quoted: its path; called: what faults call it."""

    quoted: str
    called: str

    def bad(self, what: str) -> UsageError:
        """The error to raise for the whole file."""
        return UsageError(f"{what} in {self.quoted}; give a file of annotations in COCO's form")

    def record(self, value: Any, kind: str, number: int) -> dict[str, Any]:
        """A record of a list. Raises UsageError for what is no object."""
        if not isinstance(value, dict):
            raise self.bad(f"{kind} {number} is no object")
        return value

    def categories(self, records: Iterable[Any]) -> dict[int | str, Part | None]:
        """The part of each category's id; None for the background and for what is marked as no part."""
        parts: dict[int | str, Part | None] = {}
        marked = set()
        for number, value in enumerate(records):
            record = self.record(value, "category", number)
            key, name, above = _key(record.get("id")), record.get("name"), record.get("supercategory")
            if key is None:
                raise self.bad(f"category {number} has no id")
            if not isinstance(name, str) or not _is_text(name) or not words(name):
                raise self.bad(f"category {number} has no name")
            if above is not None and (not isinstance(above, str) or not _is_text(above)):
                raise self.bad(f"the supercategory of category {number} is no text")
            if key in parts:
                raise self.bad(f"two categories have the id {_told(key)}")
            parts[key] = part_named(name, above or "")
            if words(above or "") in MARKS:
                marked.add(key)
        return {key: part if key in marked or not marked else None for key, part in parts.items()}

    def pictures(self, records: Iterable[Any]) -> tuple[list[_Named], list[Fault]]:
        """The records of pictures, each id once."""
        by_key: dict[int | str, list[_Named]] = defaultdict(list)
        faults = []
        for number, value in enumerate(records):
            record = self.record(value, "image", number)
            key = _key(record.get("id"))
            if key is None:
                raise self.bad(f"image {number} has no id")
            told = [record.get(name) for name in ("path", "file_name")]
            if not any(isinstance(name, str) and name for name in told):
                raise self.bad(f"image {number} has no file_name")
            names = tuple(dict.fromkeys(filter(None, map(_inside, told))))
            where = f"{self.called}: image {_told(key)}"
            if not names:
                faults.append(Fault("picture outside the set", where))
            if by_key[key]:
                faults.append(Fault("duplicate picture id", where))
            by_key[key].append(_Named(key, names or None, self._size(record, number)))
        return [_only(same) for same in by_key.values()], faults

    def _size(self, record: Mapping[str, Any], number: int) -> tuple[int, int]:
        height, width = (_whole(record.get(side)) for side in ("height", "width"))
        if height is None or width is None:
            raise self.bad(f"image {number} has no height and width in whole pixels")
        return height, width


def _only(same: list[_Named]) -> _Named:
    """The one record of an id; where several differ nobody knows whose annotations they are."""
    return same[0] if len(set(same)) == 1 else _Named(same[0].key, None, same[0].size)


def _lists(path: Path, file: _File) -> dict[str, list[Any]]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ImageError(f"cannot read {file.quoted}: {error.strerror or error}; check the path") from error
    except (ValueError, RecursionError):
        raise UsageError(f"{file.quoted} is not JSON; give a file of annotations in COCO's form") from None
    if not isinstance(content, dict):
        raise file.bad("there is no object")
    for name in LISTS:
        if not isinstance(content.get(name), list):
            raise file.bad(f"there is no list {name!r}")
    return content


def _key(value: Any) -> int | str | None:
    """An id; None for what can be none."""
    return value if type(value) is int or isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    """A number of pixels; None for what can be none."""
    return int(value) if type(value) in (int, float) and value > 0 and value % 1 == 0 else None


def _inside(name: Any) -> str | None:
    """A relative path with slashes that leads out of no folder; None for any other value."""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        return None
    path = PurePosixPath(name)
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return None
    if path.is_absolute() or ".." in path.parts or not path.name or Path(name).is_absolute():
        return None
    return path.as_posix()


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _told(value: Any) -> str:
    """A value from the file as a fault names it."""
    told = ascii(value)
    return told if len(told) <= 40 else told[:37] + "..."
