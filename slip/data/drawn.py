"""The set ``critters``: portraits of the made-up species by name, drawn when they are asked for.

Pictures on a background and artwork on white take turns, as in sets collected from the web: a
classifier meets both kinds, and what is cut out of either looks alike. Masks are exact.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from slip.data.critters import SPECIES, Species, make_portrait
from slip.data.critters.scenes import check_scene
from slip.data.pictures import Picture, fill_caption
from slip.errors import UsageError
from slip.options import CAPTION, CRITTER_COUNTS, PORTRAIT_SIZE, Style
from slip.types import Image, Mask

CRITTERS_NAME = "critters"
DRAWING = 1
"""Raised when critters of a seed come out otherwise."""
_STYLES: tuple[Style, ...] = ("picture", "artwork")
_KEPT_BYTES = 300_000_000
"""Drawn pictures are kept up to so many bytes: an epoch then costs no drawing."""


@dataclass(frozen=True)
class DrawnSet:
    """A PictureSet of critters.

    caption: what CLIP is told of a species; ``{}`` is its name. count: portraits of each species.
    size: their side in pixels. seed: with it, ``slip critters --layout folders`` draws the same ones,
    each in one of the two styles. Raises UsageError for values that cannot be drawn.
    """

    caption: str = CAPTION
    count: int = CRITTER_COUNTS["folders"]
    size: int = PORTRAIT_SIZE
    seed: int = 0
    species: tuple[Species, ...] = SPECIES
    name: str = field(default=CRITTERS_NAME, init=False)
    unreadable: tuple[tuple[str, str], ...] = field(default=(), init=False)
    _kept: dict[str, tuple[Image, Mask]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fill_caption(self.caption, "")
        check_scene(self.seed, self.size, 1, 0, "picture")
        if self.count < 1:
            raise UsageError(f"count is {self.count}; give 1 or more")

    def __reduce__(self) -> tuple[type[DrawnSet], tuple[object, ...]]:
        """Without what is kept: a process that is started with the set draws its own."""
        return DrawnSet, (self.caption, self.count, self.size, self.seed, self.species)

    @cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """Sorted by name; each a group of its own."""
        named = sorted((_name(kin, index), kin.name) for kin in self.species for index in range(self.count))
        return tuple(
            Picture(name, label, fill_caption(self.caption, label), group)
            for group, (name, label) in enumerate(named)
        )

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The species' names, sorted."""
        return tuple(sorted(kin.name for kin in self.species))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides what is drawn, in hex; nothing is drawn for it."""
        told = [DRAWING, self.count, self.size, self.seed, self.caption, [repr(kin) for kin in self.species]]
        return sha256(json.dumps(told).encode()).hexdigest()

    def load(self, picture: Picture) -> tuple[Image, Mask]:
        """Draw a portrait, ``size`` by ``size`` pixels, and its exact mask. Raises UsageError."""
        held = self._kept.get(picture.name)
        if held is None:
            held = self._draw(picture)
            if (len(self._kept) + 1) * sum(array.nbytes for array in held) <= _KEPT_BYTES:
                self._kept[picture.name] = held
        image, mask = held
        return image.copy(), mask.copy()

    def _draw(self, picture: Picture) -> tuple[Image, Mask]:
        number, index = self._places[picture.name]
        style = _STYLES[index % len(_STYLES)]
        scene = make_portrait(self.species[number], (self.seed, number, index), self.size, style)
        return scene.image, scene.mask(scene.critters[0])

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        return {
            _name(kin, index): (number, index)
            for number, kin in enumerate(self.species)
            for index in range(self.count)
        }


def _name(kin: Species, index: int) -> str:
    return f"{kin.name}/{kin.name}_{index:04}.png"
