"""Hand-made composites and trials: everything about them can be counted on the fingers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from fakes import segment_from

from slip.data.composites import Composite, Tile
from slip.evaluation.trials import Choice, Trial
from slip.types import Box, Prediction, Segment

SIDE = 10
BOXES = [Box(x, y, x + SIDE, y + SIDE) for y in (0, SIDE) for x in (0, SIDE)]


def block(x1: int, y1: int, x2: int, y2: int) -> Segment:
    """A filled box in a picture of four tiles of 10 x 10."""
    mask = np.zeros((2 * SIDE, 2 * SIDE), bool)
    mask[y1:y2, x1:x2] = True
    return segment_from(mask)


def composite(labels: Sequence[str] = "abcd", truths: Sequence[Segment | None] = (None,) * 4) -> Composite:
    tiles = tuple(
        Tile(box, label, label, f"{label}.png", truth)
        for box, label, truth in zip(BOXES, labels, truths, strict=True)
    )
    return Composite(np.zeros((2 * SIDE, 2 * SIDE, 3), np.uint8), tiles)


def prediction(*segments: Segment, prompt: str = "a") -> Prediction:
    return Prediction(prompt, segments, (2 * SIDE, 2 * SIDE))


CHOICE = Choice({"size": [2, 2], "counts": "04"}, (0, 0, 2, 2), 4, 0.5)

RIGHT = Trial(
    composite=0,
    tile=0,
    model="m",
    swapped=False,
    picture="a.png",
    label="a",
    text="a",
    segments=3,
    chosen=CHOICE,
    chosen_tile=0,
    chosen_label="a",
    hit=True,
    judged="a",
    iou=0.75,
    best_iou=0.875,
    reachable=True,
)
WRONG = replace(
    RIGHT, tile=1, label="b", picture="b.png", hit=False, judged="c", iou=0.0, best_iou=0.25, reachable=False
)
NOTHING = replace(
    WRONG,
    tile=2,
    label="c",
    segments=0,
    chosen=None,
    chosen_tile=None,
    chosen_label=None,
    judged=None,
    best_iou=0.0,
)
