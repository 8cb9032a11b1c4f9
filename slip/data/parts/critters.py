"""The set ``critters-parts``: portraits of the made-up species, with exact masks of their parts.

Species, not pictures, are held out: of every body plan some are only for validation and testing. The built-in
weights were made from made-up species of the same plans, colours and patterns (``recipes/``).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from slip.data.critters import PARTS, SPECIES, Scene, Species, caption, make_portrait
from slip.data.critters.bodies import parts_of
from slip.data.critters.scenes import check_scene
from slip.data.drawn import DRAWING
from slip.data.parts.records import Fault, Part, PartPicture, Side
from slip.errors import UsageError
from slip.options import PART_PORTRAIT_SIZE, PART_PORTRAITS, Style
from slip.types import Image, Mask

CRITTERS_PARTS = "critters-parts"
TEST, VALIDATION = 4, 2
"""Species of each body plan that are kept for each side, the first in the order of the catalogue."""
_STYLES: tuple[Style, ...] = ("picture", "artwork")


@dataclass(frozen=True)
class CritterParts:
    """A PartSet of critters, drawn when a side is first asked for, and kept.

    count: portraits of each species, in the two styles in turn. size: their side in pixels.
    Raises UsageError for values that cannot be drawn.
    """

    count: int = PART_PORTRAITS
    size: int = PART_PORTRAIT_SIZE
    seed: int = 0
    species: tuple[Species, ...] = SPECIES
    name: str = field(default=CRITTERS_PARTS, init=False)
    faults: tuple[Fault, ...] = field(default=(), init=False)
    _drawn: dict[str, Scene] = field(default_factory=dict, init=False, repr=False, compare=False)
    _pictures: dict[Side, tuple[PartPicture, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        check_scene(self.seed, self.size, 1, 0, "picture")
        if self.count < 1:
            raise UsageError(f"count is {self.count}; give 1 or more")

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Those of all body plans."""
        plans = {kin.plan for kin in self.species}
        return tuple(sorted(_part(plan, name) for plan in plans for name in parts_of(plan)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides what is drawn, in hex; nothing is drawn for it."""
        kept = {side: [repr(kin) for _, kin in self._of(side)] for side in ("train", "validation", "test")}
        told = [DRAWING, self.count, self.size, self.seed, kept]
        return sha256(json.dumps(told).encode()).hexdigest()

    def pictures(self, side: Side) -> tuple[PartPicture, ...]:
        """The portraits of a side's species, sorted by name; drawn at the first call."""
        if side not in self._pictures:
            self._pictures[side] = tuple(sorted(self._draw(side), key=lambda picture: picture.name))
        return self._pictures[side]

    def load(self, picture: PartPicture) -> tuple[Image, dict[Part, Mask]]:
        """The portrait, ``size`` by ``size`` pixels, and the exact masks of its parts."""
        scene = self._drawn[picture.name]
        [critter] = scene.critters
        masks = scene.part_masks(critter)
        return scene.image.copy(), {part: masks[part.name] for part in picture.parts}

    def _draw(self, side: Side) -> Iterator[PartPicture]:
        for number, kin in self._of(side):
            subject = caption(kin).partition(" ")[2]
            for index in range(self.count):
                name, style = f"{kin.name}/{kin.name}_{index:04}.png", _STYLES[index % len(_STYLES)]
                scene = make_portrait(kin, (self.seed, number, index), self.size, style)
                self._drawn[name] = scene
                shown = scene.part_masks(scene.critters[0])
                parts = tuple(sorted(_part(kin.plan, part) for part in shown))
                yield PartPicture(name, side, subject, parts)

    def _of(self, side: Side) -> list[tuple[int, Species]]:
        """The species of a side with their numbers in the catalogue."""
        by_plan: dict[str, list[tuple[int, Species]]] = defaultdict(list)
        for number, kin in enumerate(self.species):
            by_plan[kin.plan].append((number, kin))
        kept = {
            "test": slice(0, TEST),
            "validation": slice(TEST, TEST + VALIDATION),
            "train": slice(TEST + VALIDATION, None),
        }
        return [one for plan in sorted(by_plan) for one in by_plan[plan][kept[side]]]


def _part(plan: str, name: str) -> Part:
    if name not in PARTS:
        raise ValueError(f"{name!r} is no part of a critter")
    return Part(f"{plan} {name}", name, plan)
