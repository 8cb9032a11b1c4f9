"""Sets of parts whose pictures are files: read once to know what they hold, decoded when asked for."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path

import PIL.Image

from slip.data.parts.coco import Listed, Shape, read_coco
from slip.data.parts.layouts import Finder, find_layout
from slip.data.parts.naming import one_each
from slip.data.parts.records import SIDES, Fault, Part, PartPicture, Side
from slip.data.parts.shapes import area, decode, rasterise, union
from slip.errors import ImageError, UsageError
from slip.images import load_with_alpha
from slip.options import SPLIT
from slip.types import Image, Mask, Progress

KEPT_ON: tuple[Side, ...] = ("test", "validation", "train")
"""Of a picture on several sides the first of these stays."""


@dataclass(frozen=True, eq=False)
class Known:
    """What is kept of a picture. content: SHA-256 of its file, in hex. size: (height, width).

    masks: a compressed run-length code for the union of each part.
    """

    content: str
    size: tuple[int, int]
    masks: Mapping[Part, bytes]


@dataclass(frozen=True)
class CocoParts:
    """A PartSet of files. root: what the pictures' names are relative to."""

    name: str
    root: Path
    parts: tuple[Part, ...]
    faults: tuple[Fault, ...]
    digest: str
    _pictures: Mapping[Side, tuple[PartPicture, ...]] = field(repr=False, hash=False)
    _known: Mapping[str, Known] = field(repr=False, compare=False)

    def pictures(self, side: Side) -> tuple[PartPicture, ...]:
        """Those of a side, sorted by name; none where the set has no such side."""
        return self._pictures.get(side, ())

    def load(self, picture: PartPicture) -> tuple[Image, dict[Part, Mask]]:
        """Decode a picture and its masks. Raises ImageError for a file that is gone, damaged or another."""
        known = self._known[picture.name]
        path = self.root / picture.name
        image, _ = load_with_alpha(path)
        if image.shape[:2] != known.size:
            raise ImageError(f"{str(path)!r} has another size than when it was opened; start again")
        return image, {part: decode(known.masks[part], known.size) for part in picture.parts}

    def shares(self, picture: PartPicture) -> dict[Part, float]:
        """The share of the picture that each of its parts covers, 0 to 1, without decoding it."""
        known = self._known[picture.name]
        height, width = known.size
        return {part: area(known.masks[part], known.size) / (height * width) for part in picture.parts}


@dataclass(frozen=True, eq=False)
class _Found:
    """A listed picture whose file is there. name: its path relative to the root."""

    name: str
    side: Side
    listed: Listed


def open_coco(source: Path, progress: Progress | None = None) -> CocoParts:
    """The set of a folder, or of one file of annotations. Every picture is read once, in threads.

    What is broken is left out and listed; where no side is for validation, a share of the pictures to
    train on is held out. Raises UsageError for annotations that are no such thing and where no picture
    can be used; ImageError for a folder or a file of annotations that cannot be read.
    """
    layout = find_layout(source)
    faults: list[Fault] = []
    found: list[_Found] = []
    for side, file in layout.annotations.items():
        called = file.relative_to(layout.root).as_posix()
        pictures, broken = read_coco(file, called)
        faults += broken
        found += _locate(pictures, side, Finder(layout.root, file), called, faults)
    found = _with_one_part_each(found)
    kept: list[tuple[_Found, Known]] = []
    for one, known in zip(found, _read_all(layout.root, found, progress), strict=True):
        faults += known.faults
        if known.known is not None:
            kept.append((one, known.known))
    by_side = _hold_out(_without_leaks(kept, faults))
    if not by_side:
        raise _nothing(source, faults)
    return _assemble(layout.root, by_side, faults)


def _locate(
    pictures: Iterable[Listed], side: Side, finder: Finder, called: str, faults: list[Fault]
) -> Iterator[_Found]:
    """The pictures that are there; what is missing or without parts becomes a fault."""
    seen = set()
    for listed in pictures:
        told = listed.names[0]
        name = finder.find(listed.names)
        if name is None:
            faults.append(Fault("missing picture", f"{called}: {told}"))
        elif name in seen:
            faults.append(Fault("duplicate picture", f"{called}: {told}"))
        elif not listed.shapes:
            faults.append(Fault("no parts left" if listed.annotated else "no parts", name))
        else:
            yield _Found(name, side, listed)
        if name is not None:
            seen.add(name)


def _with_one_part_each(found: Sequence[_Found]) -> list[_Found]:
    """The same with one Part for each category, though files differ in what they tell of it."""
    one = one_each(shape.part for picture in found for shape in picture.listed.shapes)

    def told(shape: Shape) -> Shape:
        return replace(shape, part=one[shape.part.category])

    return [
        replace(picture, listed=replace(picture.listed, shapes=tuple(map(told, picture.listed.shapes))))
        for picture in found
    ]


@dataclass(frozen=True, eq=False)
class _Read:
    """What came of reading a picture. known: None where it is left out."""

    known: Known | None
    faults: tuple[Fault, ...] = ()


def _read_all(root: Path, found: Sequence[_Found], progress: Progress | None) -> Iterator[_Read]:
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for done, one in enumerate(pool.map(partial(_read, root), found), 1):
            if progress:
                progress("read pictures", done, len(found))
            yield one
    finally:
        pool.shutdown(cancel_futures=True)


def _read(root: Path, found: _Found) -> _Read:
    """Decode a picture and rasterise what is annotated in it."""
    try:
        data = (root / found.name).read_bytes()
        size = load_with_alpha(data)[0].shape[:2]
    except (ImageError, OSError):
        return _Read(None, (Fault("unreadable picture", found.name),))
    if size != found.listed.size:
        return _Read(None, (Fault(_other_size(data, size, found.listed.size), found.name),))
    codes: dict[Part, list[bytes]] = defaultdict(list)
    faults = []
    for shape in found.listed.shapes:
        code, wrong = rasterise(shape.segmentation, size)
        faults += [Fault(kind, shape.where) for kind in wrong]
        if code is not None:
            codes[shape.part].append(code)
    masks = {part: union(own, size) or own[0] for part, own in sorted(codes.items())}
    if not masks:
        return _Read(None, (*faults, Fault("no parts left", found.name)))
    return _Read(Known(hashlib.sha256(data).hexdigest(), size, masks), tuple(faults))


def _other_size(data: bytes, size: tuple[int, int], wanted: tuple[int, int]) -> str:
    """Whether it is the picture as stored, before EXIF turns it, that has the size of the annotations."""
    with PIL.Image.open(BytesIO(data)) as stored:
        return "rotated picture" if size[::-1] == wanted == stored.size[::-1] else "picture of another size"


_Kept = list[tuple[_Found, Known]]


def _without_leaks(kept: _Kept, faults: list[Fault]) -> _Kept:
    """Without pictures whose very bytes are on a later side, too."""
    stays: dict[str, _Found] = {}
    for one, known in sorted(kept, key=lambda pair: (KEPT_ON.index(pair[0].side), pair[0].name)):
        stays.setdefault(known.content, one)
    clean = []
    for one, known in kept:
        other = stays[known.content]
        if one.side == other.side:
            clean.append((one, known))
        else:
            faults.append(Fault("on two sides", f"{one.name} ({one.side}) is {other.name} ({other.side})"))
    return clean


def _hold_out(kept: _Kept) -> dict[Side, _Kept]:
    """The pictures of each side. Where there is none to validate on, a share of those to train on.

    Which ones is decided by the seed and the names alone; copies stay together.
    """
    by_side: dict[Side, _Kept] = {side: [] for side in SIDES}
    for one, known in sorted(kept, key=lambda pair: pair[0].name):
        by_side[one.side].append((one, known))
    if not by_side["validation"]:
        groups: dict[str, _Kept] = defaultdict(list)
        for pair in by_side["train"]:
            groups[pair[1].content].append(pair)
        ordered = sorted(groups.values(), key=_place)
        number = round(SPLIT.validation * len(ordered)) or int(len(ordered) > 1)
        held = {pair[0].name for group in ordered[:number] for pair in group}
        train = by_side["train"]
        by_side["train"] = [pair for pair in train if pair[0].name not in held]
        by_side["validation"] = [
            (replace(one, side="validation"), known) for one, known in train if one.name in held
        ]
    return {side: own for side, own in by_side.items() if own}


def _place(group: _Kept) -> bytes:
    return hashlib.sha256(f"{SPLIT.seed}/{group[0][0].name}".encode("utf-8", "surrogatepass")).digest()


def _assemble(root: Path, by_side: Mapping[Side, _Kept], faults: Iterable[Fault]) -> CocoParts:
    digest = hashlib.sha256()
    pictures: dict[Side, tuple[PartPicture, ...]] = {}
    known_by_name = {}
    for side, own in by_side.items():
        pictures[side] = tuple(PartPicture(one.name, side, _subject(k), tuple(k.masks)) for one, k in own)
        for picture, (_, known) in zip(pictures[side], own, strict=True):
            known_by_name[picture.name] = known
            masks = [[part.category, part.name, part.owner, m.decode()] for part, m in known.masks.items()]
            line = [picture.name, side, known.content, masks]
            digest.update(json.dumps(line).encode() + b"\n")
    parts = tuple(sorted({part for known in known_by_name.values() for part in known.masks}))
    ordered = tuple(sorted(faults, key=lambda fault: (fault.kind, fault.where)))
    name = root.resolve().name or str(root)
    return CocoParts(name, root, parts, ordered, digest.hexdigest(), pictures, known_by_name)


def _subject(known: Known) -> str:
    """What owns all parts of a picture, where that is one thing."""
    owners = {part.owner for part in known.masks}
    return owners.pop() if len(owners) == 1 else ""


def _nothing(source: Path, faults: Sequence[Fault]) -> UsageError:
    """The error for a set without a picture, with what is wrong with most of it."""
    if not faults:
        return UsageError(f"{str(source)!r} lists no picture; give annotations of pictures with parts")
    kinds = Counter(fault.kind for fault in faults)
    kind, count = kinds.most_common(1)[0]
    first = next(fault.where for fault in faults if fault.kind == kind)
    return UsageError(
        f"{str(source)!r} has no picture with parts that can be used: {count} x {kind}, first {first!r}; "
        "mend the annotations or put the pictures beside them"
    )
