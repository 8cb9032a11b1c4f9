"""Pictures of critters with exact masks of every object and part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from slip.data.critters.backgrounds import background
from slip.data.critters.bodies import PARTS
from slip.data.critters.captions import caption, part_caption, thing_caption
from slip.data.critters.draw import Sprite, check_style, draw_critter
from slip.data.critters.species import COLOURS, Species, all_species
from slip.data.critters.things import THINGS, draw_thing
from slip.errors import UsageError
from slip.options import CRITTERS, PORTRAIT_SIZE, Style
from slip.types import Image, Mask

SPECIES = all_species()
SIZES = (32, 4096)
"""Smallest and largest side of a picture in pixels."""
MOST = 100
"""Critters, and distractors, that a scene can be asked for."""
_CROWDING = 0.06
"""Objects may hide at most this share of each other."""
_SMALLEST = 10
"""Pixels across that an object of a scene is given at least."""
_POSES = 1000
"""Poses tried for a portrait."""


@dataclass(frozen=True)
class SceneObject:
    """One critter or thing of a scene.

    number: its value in ``Scene.objects``. name: the species', or the kind of thing.
    caption: its looks, as "a blue striped bird". species: None for a thing.
    size: ``small``, ``large`` or nothing.
    """

    number: int
    name: str
    caption: str
    species: Species | None
    size: str = ""


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn picture and the truth about it.

    image: ``uint8 (H, W, 3)`` RGB.
    objects: ``uint8 (H, W)``, the number of the object seen at each pixel, 0 for background.
    parts: ``uint8 (H, W)``, 1 + index into PARTS, 0 where there is none.
    """

    image: Image
    objects: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    things: tuple[SceneObject, ...]

    @property
    def critters(self) -> tuple[SceneObject, ...]:
        """The objects that are critters."""
        return tuple(thing for thing in self.things if thing.species)

    def mask(self, thing: SceneObject) -> Mask:
        """The visible pixels of an object, ``bool (H, W)``."""
        return np.asarray(self.objects == thing.number)

    def part_masks(self, thing: SceneObject) -> dict[str, Mask]:
        """The visible pixels of each part of a critter, by the part's name."""
        own = self.mask(thing)
        seen = np.unique(self.parts[own])
        return {PARTS[index - 1]: own & (self.parts == index) for index in seen if index}

    def part_captions(self, thing: SceneObject) -> dict[str, str]:
        """Each part of a critter in words, by the part's name."""
        if thing.species is None:
            return {}
        return {part: part_caption(part, thing.species) for part in self.part_masks(thing)}


def make_scene(
    seed: int | Sequence[int],
    size: int = CRITTERS.size,
    critters: int = CRITTERS.critters,
    distractors: int = CRITTERS.distractors,
    style: Style = CRITTERS.style,
    species: Sequence[Species] = SPECIES,
) -> Scene:
    """A scene of critters of different species among other things; the same seed, the same scene.

    seed: 0 or more, or several such numbers. size: side of the square picture in pixels.
    critters, distractors: how many to place; one that finds no free place is left out.
    species: what the critters are chosen from, each at most once.

    Raises UsageError for values outside SIZES and MOST, for a crowd too dense for its picture and
    for more critters than species.
    """
    check_scene(seed, size, critters, distractors, style)
    if critters > len(species):
        raise UsageError(f"{critters} critters of different species need as many; {len(species)} are given")
    rng = np.random.default_rng(seed)
    canvas = np.full((3, size, size), 255, np.float32) if style == "artwork" else background(size, rng)
    builder = _Builder(canvas, shadows=style == "picture" and rng.random() < 0.6)
    room = _room(size, critters + distractors)
    for index in rng.permutation(len(species))[:critters]:
        kin = species[index]
        scale = rng.uniform(0.7, 1.15)
        sprite = draw_critter(kin, int(room * scale), rng, style)
        word = "small" if scale < 0.8 else "large" if scale > 1.05 else ""
        builder.place(sprite, kin.name, caption(kin), kin, word, rng)
    for _ in range(distractors):
        kind, colour = str(rng.choice(list(THINGS))), str(rng.choice(list(COLOURS)))
        sprite = draw_thing(kind, colour, int(room * rng.uniform(0.22, 0.55)), rng)
        builder.place(sprite, kind, thing_caption(kind, colour), None, "", rng)
    return builder.scene(rng, grain=style == "picture")


def make_portrait(
    species: Species,
    seed: int | Sequence[int],
    size: int = PORTRAIT_SIZE,
    style: Style = CRITTERS.style,
) -> Scene:
    """One critter that fills most of the picture, as in a class folder; the same seed, the same portrait.

    Where the pose does not fit the picture, another is tried. Raises UsageError like make_scene,
    and where no pose fits.
    """
    roots = tuple(seed) if isinstance(seed, Sequence) else (seed,)
    for attempt in range(_POSES):
        again = (attempt,) if attempt else ()
        scene = make_scene((*roots, *again), size, 1, 0, style, [species])
        if scene.things:
            return scene
    raise UsageError(f"no pose of {species.name!r} fits {size} pixels; give a larger size")


def check_scene(seed: int | Sequence[int], size: int, critters: int, distractors: int, style: Style) -> None:
    """Refuse what make_scene cannot draw. Raises UsageError."""
    for number in seed if isinstance(seed, Sequence) else (seed,):
        if number < 0:
            raise UsageError(f"the seed {number} is below 0; give 0 or more")
    if not SIZES[0] <= size <= SIZES[1]:
        raise UsageError(f"size is {size}; give {SIZES[0]} to {SIZES[1]} pixels")
    for name, number in (("critters", critters), ("distractors", distractors)):
        if not 0 <= number <= MOST:
            raise UsageError(f"{name} is {number}; give 0 to {MOST}")
    if _room(size, critters + distractors) < _SMALLEST:
        raise UsageError(
            f"{critters + distractors} objects do not fit {size} pixels; give fewer or a larger size"
        )
    check_style(style)


def _room(size: int, objects: int) -> float:
    """About how many pixels across each of so many objects is given."""
    return float(1.3 * size / np.sqrt(max(objects, 1) + 0.3))


class _Builder:
    """Places sprites on a canvas, ``float32 (3, H, W)``, and keeps the books."""

    def __init__(self, canvas: NDArray[np.float32], shadows: bool) -> None:
        self.canvas = canvas
        self.shadows = shadows
        self.objects = np.zeros(canvas.shape[1:], np.uint8)
        self.parts = np.zeros(canvas.shape[1:], np.uint8)
        self.areas = np.zeros(0, np.int64)
        """Pixels still seen of each object."""
        self.things: list[SceneObject] = []

    def place(
        self,
        sprite: Sprite,
        name: str,
        words: str,
        species: Species | None,
        size: str,
        rng: np.random.Generator,
    ) -> None:
        """Put a sprite where it hides little; leave it out where no such place is found."""
        alpha = sprite.rgba[..., 3]
        opaque = alpha >= 128
        spot = self._free_spot(opaque, rng)
        if spot is None:
            return
        height, width = opaque.shape
        rows, columns = here = slice(spot[0], spot[0] + height), slice(spot[1], spot[1] + width)
        if self.shadows:
            self._shadow(spot, height, width)
        ground = self.canvas[:, rows, columns]
        ground += (sprite.rgba[..., :3].transpose(2, 0, 1) - ground) * (alpha / np.float32(255))
        number = len(self.things) + 1
        self.areas = np.append(self.areas - self._count(self.objects[here][opaque]), opaque.sum())
        self.objects[here][opaque] = number
        self.parts[here][opaque] = sprite.parts[opaque]
        self.things.append(SceneObject(number, name, words, species, size))

    def scene(self, rng: np.random.Generator, grain: bool) -> Scene:
        """The finished picture."""
        if grain:
            self.canvas += rng.normal(0, rng.uniform(0, 5), self.objects.shape).astype(np.float32)
        image = cv2.merge(list(np.clip(self.canvas, 0, 255).astype(np.uint8)))
        return Scene(image, self.objects, self.parts, tuple(self.things))

    def _free_spot(self, shape: Mask, rng: np.random.Generator) -> tuple[int, int] | None:
        """Top and left of a place inside the picture where little of others would be hidden."""
        side = len(self.objects)
        height, width = shape.shape
        if height >= side or width >= side or not shape.any():
            return None
        for _ in range(30):
            top, left = int(rng.integers(0, side - height)), int(rng.integers(0, side - width))
            under = self.objects[top : top + height, left : left + width][shape]
            covered = np.count_nonzero(under) <= _CROWDING * under.size
            if covered and np.all(self._count(under) <= _CROWDING * self.areas):
                return top, left
        return None

    def _count(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """How many of the pixels show each object."""
        return np.bincount(pixels, minlength=len(self.areas) + 1)[1:]

    def _shadow(self, spot: tuple[int, int], height: int, width: int) -> None:
        side = len(self.objects)
        quarter = max(side // 4, 1)
        shade = np.zeros((quarter, quarter), np.float32)
        x, y = (spot[1] + width / 2) * 16 / 4, (spot[0] + height * 0.97) * 16 / 4
        axes = (int(width * 0.42 * 16 / 4), int(height * 0.1 * 16 / 4))
        cv2.ellipse(shade, (int(x), int(y)), axes, 0, 0, 360, 0.45, -1, cv2.LINE_AA, shift=4)
        shade = cv2.resize(cv2.GaussianBlur(shade, (0, 0), side / 160), (side, side))
        self.canvas *= 1 - np.where(self.objects == 0, shade, 0)
