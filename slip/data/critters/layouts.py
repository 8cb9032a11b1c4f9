"""Sets of critters as files, each drawn when its bytes are asked for.

``scenes``: ``images/000000.png``, in ``objects/`` and ``parts/`` index pictures of the same names
(``Scene.objects`` and ``Scene.parts``), and ``annotations.json`` (slip.data.critters.annotations).
``folders``: a folder a species, ``Bazo/Bazo_0000.png``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, get_args

from slip.data.critters.annotations import annotation_records, document, image_record
from slip.data.critters.scenes import SPECIES, Scene, check_scene, make_portrait, make_scene
from slip.data.critters.species import Species
from slip.errors import UsageError
from slip.images import encode_png
from slip.options import CRITTER_COUNTS, CRITTERS, CritterOptions, Layout

MOST: dict[Layout, int] = {"scenes": 100_000, "folders": 10_000}
"""The largest count of a layout; its names are made for as many."""


@dataclass(frozen=True)
class File:
    """A file of a set. path: below the set's folder, with slashes. content: draws and encodes it."""

    path: str
    content: Callable[[], bytes]


def check_options(options: CritterOptions) -> CritterOptions:
    """The options with the count that holds. Raises UsageError for what cannot be drawn."""
    if options.layout not in get_args(Layout):
        raise UsageError(f"layout is {options.layout!r}; give {' or '.join(get_args(Layout))}")
    count = CRITTER_COUNTS[options.layout] if options.count is None else options.count
    if not 1 <= count <= MOST[options.layout]:
        raise UsageError(f"count is {count}; give 1 to {MOST[options.layout]}")
    if options.layout == "scenes":
        check_scene(options.seed, options.size, options.critters, options.distractors, options.style)
    else:
        check_scene(options.seed, options.size, 1, 0, options.style)
        if (options.critters, options.distractors) != (CRITTERS.critters, CRITTERS.distractors):
            raise UsageError("a portrait is of one critter alone; leave out --critters and --distractors")
    return replace(options, count=count)


def parameters(options: CritterOptions) -> dict[str, Any]:
    """All that decides what the files of a set hold. Raises UsageError."""
    decided = asdict(check_options(options))
    if options.layout == "folders":
        del decided["critters"], decided["distractors"]
    return decided


def count_files(options: CritterOptions) -> int:
    """How many files a set has. Raises UsageError."""
    count = check_options(options).count or 0
    return 3 * count + 1 if options.layout == "scenes" else len(SPECIES) * count


def draw_files(options: CritterOptions) -> Iterator[File]:
    """The files of a set; what each holds depends on the options alone. Raises UsageError.

    Asked for in order, every scene is drawn once.
    """
    options = check_options(options)
    return iter(_Scenes(options) if options.layout == "scenes" else _portraits(options))


def _portraits(options: CritterOptions) -> Iterator[File]:
    for number, species in enumerate(SPECIES):
        for index in range(options.count or 0):
            content = partial(_portrait, species, (options.seed, number, index), options)
            yield File(f"{species.name}/{species.name}_{index:04}.png", content)


def _portrait(species: Species, seed: tuple[int, int, int], options: CritterOptions) -> bytes:
    return encode_png(make_portrait(species, seed, options.size, options.style).image)


class _Scenes:
    """The files of the scenes layout. Keeps the last scene, and the records of all scenes drawn."""

    def __init__(self, options: CritterOptions) -> None:
        self.options = options
        self.count = options.count or 0
        self.last: tuple[int, Scene] | None = None
        self.images: dict[int, str] = {}
        self.annotations: dict[int, str] = {}

    def __iter__(self) -> Iterator[File]:
        for index in range(self.count):
            for kind, layer in (("images", "image"), ("objects", "objects"), ("parts", "parts")):
                yield File(f"{kind}/{_name(index)}", partial(self._picture, index, layer))
        yield File("annotations.json", self._document)

    def _picture(self, index: int, layer: str) -> bytes:
        return encode_png(getattr(self._scene(index), layer))

    def _scene(self, index: int) -> Scene:
        if self.last is not None and self.last[0] == index:
            return self.last[1]
        options = self.options
        seed = (options.seed, index)
        scene = make_scene(seed, options.size, options.critters, options.distractors, options.style)
        self.images[index] = json.dumps(image_record(scene, index, _name(index)))
        self.annotations[index] = ",\n".join(map(json.dumps, annotation_records(scene, index)))
        self.last = index, scene
        return scene

    def _document(self) -> bytes:
        for index in range(self.count):
            if index not in self.images:
                self._scene(index)
        order = range(self.count)
        images = (self.images[index] for index in order)
        return document(images, filter(None, (self.annotations[index] for index in order)))


def _name(index: int) -> str:
    return f"{index:06}.png"
