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
from slip.data.critters.draw import Sprite, Style, draw_critter
from slip.data.critters.species import COLOURS, Species, all_species
from slip.data.critters.things import THINGS, draw_thing
from slip.types import Image, Mask

SPECIES = all_species()
_CROWDING = 0.06
"""Objects may hide at most this share of each other."""


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
        return self.objects == thing.number

    def part_masks(self, thing: SceneObject) -> dict[str, Mask]:
        """The visible pixels of each part of a critter, by the part's name."""
        own = self.mask(thing)
        seen = np.unique(self.parts[own])
        return {PARTS[index - 1]: own & (self.parts == index) for index in seen if index}

    def part_captions(self, thing: SceneObject) -> dict[str, str]:
        """Each part of a critter in words, by the part's name."""
        species = thing.species
        return {} if species is None else {part: part_caption(part, species) for part in self.part_masks(thing)}


def make_scene(
    seed: int | Sequence[int],
    size: int = 256,
    critters: int = 4,
    distractors: int = 2,
    style: Style = "picture",
    species: Sequence[Species] = SPECIES,
) -> Scene:
    """A scene of critters of different species among other things; the same seed, the same scene.

    size: side of the square picture in pixels. An object that finds no free place is left out.
    """
    rng = np.random.default_rng(seed)
    canvas = np.full((size, size, 3), 255, np.float32) if style == "artwork" else background(size, rng)
    builder = _Builder(canvas, shadows=style == "picture" and rng.random() < 0.6)
    crowd = max(critters + distractors, 1)
    room = 1.3 * size / np.sqrt(crowd + 0.3)
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


def make_portrait(species: Species, seed: int | Sequence[int], size: int = 128, style: Style = "picture") -> Scene:
    """One critter that fills most of the picture, as in a class folder."""
    return make_scene(seed, size, critters=1, distractors=0, style=style, species=[species])


class _Builder:
    """Places sprites on a canvas and keeps the books."""

    def __init__(self, canvas: NDArray[np.float32], shadows: bool) -> None:
        self.canvas = canvas
        self.shadows = shadows
        self.objects = np.zeros(canvas.shape[:2], np.uint8)
        self.parts = np.zeros(canvas.shape[:2], np.uint8)
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
        spot = self._free_spot(sprite.rgba[..., 3] >= 128, rng)
        if spot is None:
            return
        height, width = sprite.parts.shape
        here = slice(spot[0], spot[0] + height), slice(spot[1], spot[1] + width)
        if self.shadows:
            self._shadow(spot, height, width)
        share = sprite.rgba[..., 3:] / np.float32(255)
        self.canvas[here] += (sprite.rgba[..., :3] - self.canvas[here]) * share
        opaque = sprite.rgba[..., 3] >= 128
        number = len(self.things) + 1
        self.objects[here][opaque] = number
        self.parts[here][opaque] = sprite.parts[opaque]
        self.things.append(SceneObject(number, name, words, species, size))

    def scene(self, rng: np.random.Generator, grain: bool) -> Scene:
        canvas = self.canvas
        if grain:
            canvas = canvas + rng.normal(0, rng.uniform(0, 5), canvas.shape[:2]).astype(np.float32)[..., None]
        image = np.clip(canvas, 0, 255).astype(np.uint8)
        return Scene(image, self.objects, self.parts, tuple(self.things))

    def _free_spot(self, shape: Mask, rng: np.random.Generator) -> tuple[int, int] | None:
        """Top and left of a place inside the picture where little of others would be hidden."""
        side = len(self.objects)
        height, width = shape.shape
        if height >= side or width >= side:
            return None
        for _ in range(30):
            top, left = int(rng.integers(0, side - height)), int(rng.integers(0, side - width))
            under = self.objects[top : top + height, left : left + width][shape]
            if np.count_nonzero(under) <= _CROWDING * under.size and self._hides_little(under):
                return top, left
        return None

    def _hides_little(self, under: NDArray[np.uint8]) -> bool:
        hidden = np.bincount(under, minlength=len(self.things) + 1)[1:]
        whole = np.bincount(self.objects.ravel(), minlength=len(self.things) + 1)[1:]
        return bool(np.all(hidden <= _CROWDING * whole))

    def _shadow(self, spot: tuple[int, int], height: int, width: int) -> None:
        side = len(self.objects)
        quarter = max(side // 4, 1)
        shade = np.zeros((quarter, quarter), np.float32)
        centre = ((spot[1] + width / 2) * 16 / 4, (spot[0] + height * 0.97) * 16 / 4)
        axes = (width * 0.42 * 16 / 4, height * 0.1 * 16 / 4)
        cv2.ellipse(shade, tuple(map(int, centre)), tuple(map(int, axes)), 0, 0, 360, 0.45, -1, cv2.LINE_AA, shift=4)
        shade = cv2.resize(cv2.GaussianBlur(shade, (0, 0), side / 160), (side, side))
        self.canvas *= 1 - np.where(self.objects == 0, shade, 0)[..., None]
