"""Composites: labelled pictures put together two by two, so that a prompt has one right place.

The form is that of the SLIP paper's evaluation (arXiv 2405.07284): four pictures, each squashed to
a square tile, without a gap. A composite knows where each class was put.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from slip.data.pictures import Picture, PictureSet
from slip.errors import UsageError
from slip.images import resize
from slip.masks import segment_of
from slip.options import EVAL, EvalOptions
from slip.types import Box, Image, Mask, Segment

TILES = 4
LEAST_TILE = 8
"""Pixels."""

Plan = tuple[Picture, ...]
"""The pictures of a composite: top left, top right, bottom left, bottom right."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of a composite.

    box: where it lies. label: its class. prompt: what is asked of it. picture: its name in the set.
    truth: its subject in the composite, where the set has a mask of it.
    """

    box: Box
    label: str
    prompt: str
    picture: str
    truth: Segment | None


@dataclass(frozen=True, eq=False)
class Composite:
    """Four pictures in one, ``uint8 (2 S, 2 S, 3)`` RGB, its tiles row by row."""

    image: Image
    tiles: tuple[Tile, ...]


def plan_composites(pictures: Sequence[Picture], options: EvalOptions = EVAL) -> list[Plan]:
    """Which pictures each composite shows; the same for the same pictures, in any order, and seed.

    The four are of different classes, but under the ``paper`` protocol, where classes may repeat.
    No picture comes again before all have been shown, as far as the classes allow: once those that
    are left over do not make a composite, all are dealt anew behind them.

    Raises UsageError for fewer than four classes (``paper``: pictures), and for options out of range.
    """
    distinct = options.protocol != "paper"
    _check(pictures, options, distinct)
    rng = np.random.default_rng((options.seed, 20_240))
    pictures = sorted(pictures, key=lambda picture: picture.name)
    deck: list[Picture] = []
    plans = []
    for _ in range(options.count):
        drawn = _draw(deck, distinct)
        if len(drawn) < TILES:
            deck += (pictures[index] for index in rng.permutation(len(pictures)))
            drawn = _draw(deck, distinct)
        plans.append(tuple(deck[drawn[index]] for index in rng.permutation(TILES)))
        for index in sorted(drawn, reverse=True):
            del deck[index]
    return plans


def _check(pictures: Sequence[Picture], options: EvalOptions, distinct: bool) -> None:
    if options.count < 1:
        raise UsageError(f"count is {options.count}; measure 1 composite or more")
    if options.tile < LEAST_TILE:
        raise UsageError(f"tiles of {options.tile} pixels show nothing; give {LEAST_TILE} or more")
    if options.seed < 0:
        raise UsageError(f"seed {options.seed} is below 0; give 0 or more")
    if not pictures:
        raise UsageError(
            "there is no picture to measure with; hold out a larger share, or take all with --split all"
        )
    if not distinct and len(pictures) < TILES:
        raise UsageError(f"a composite shows {TILES} pictures, and there are {len(pictures)}; add pictures")
    classes = sorted({picture.label for picture in pictures})
    if distinct and len(classes) < TILES:
        raise UsageError(
            f"a composite shows {TILES} classes, and there are pictures of {len(classes)} "
            f"({', '.join(classes)}); add classes, hold out more, or take all with --split all"
        )


def _draw(deck: Sequence[Picture], distinct: bool) -> list[int]:
    """Places in the deck of the next composite's pictures; fewer than four where it holds no more.

    The first come first. But a class with as many pictures as the deck has composites left is in
    each of them, or some of its pictures would be left over.
    """
    order = list(range(len(deck)))
    if distinct:
        left = len(deck) // TILES
        counts = Counter(picture.label for picture in deck)
        order.sort(key=lambda index: -counts[deck[index].label] if counts[deck[index].label] >= left else 0)
    drawn: list[int] = []
    for index in order:
        held = [deck[other] for other in drawn]
        taken = {picture.label if distinct else picture.name for picture in held}
        if (deck[index].label if distinct else deck[index].name) not in taken:
            drawn.append(index)
        if len(drawn) == TILES:
            break
    return drawn


def draw_composite(plan: Plan, source: PictureSet, options: EvalOptions = EVAL) -> Composite:
    """The pictures of a plan, loaded and put together. Raises ImageError for one that cannot be read."""
    side = options.tile
    canvas = np.empty((2 * side, 2 * side, 3), np.uint8)
    tiles = []
    for index, picture in enumerate(plan):
        x, y = index % 2 * side, index // 2 * side
        box = Box(x, y, x + side, y + side)
        image, mask = source.load(picture)
        canvas[box.slices] = resize(image, side, side)
        prompt = picture.label if options.asked == "label" else picture.caption
        truth = None if mask is None else _placed(mask, box, 2 * side)
        tiles.append(Tile(box, picture.label, prompt, picture.name, truth))
    return Composite(canvas, tuple(tiles))


def _placed(mask: Mask, box: Box, side: int) -> Segment | None:
    """A picture's mask where the picture is, each pixel from the nearest; None where nothing is left."""
    size = box.width, box.height
    squashed = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    whole = np.zeros((side, side), bool)
    whole[box.slices] = squashed > 0
    return segment_of(whole)
