"""One trial: what was asked of a model, what it chose, and what can be said of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from slip.data.composites import Composite, Tile
from slip.errors import UsageError
from slip.masks import encode_rle, segment_iou
from slip.types import Box, Prediction, Segment

MAJORITY = 0.5
"""A segment lies in the tile that holds more than this share of its area."""
REACHABLE = 0.1
"""A tile is reachable where a segment lies in it and covers this share of it."""


@dataclass(frozen=True)
class Choice:
    """The segment a model chose. rle: its mask, COCO's code. box: xyxy pixels, far sides exclusive."""

    rle: dict[str, Any]
    box: tuple[int, int, int, int]
    area: int
    score: float | None


@dataclass(frozen=True)
class Trial:
    """One prompt on one composite.

    composite, tile: their numbers, from 0; tiles row by row. picture: the name of the tile's.
    swapped: the model saw its crops with red and blue exchanged.
    label: the class asked for. text: the words the model was given.
    segments: how many there were to choose from. chosen: None where there was none.
    chosen_tile: where the chosen segment lies; None where no tile holds most of it.
    chosen_label: the class of that tile. hit: whether it is the class asked for.
    judged: what the judge calls the chosen segment; None without a judge or a segment.
    iou: of the chosen segment with the true mask; best_iou: of the best segment; None without a mask.
    reachable: whether some segment lies in the tile and covers a tenth of it.
    """

    composite: int
    tile: int
    model: str
    swapped: bool
    picture: str
    label: str
    text: str
    segments: int
    chosen: Choice | None
    chosen_tile: int | None
    chosen_label: str | None
    hit: bool
    judged: str | None
    iou: float | None
    best_iou: float | None
    reachable: bool

    @property
    def key(self) -> tuple[int, int]:
        """What trials of different models share: the composite and the tile."""
        return self.composite, self.tile

    def to_json(self) -> dict[str, Any]:
        """Plain values for a line of JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Trial:
        """The trial of such values. Raises TypeError, KeyError for others."""
        chosen = told["chosen"]
        choice = Choice(**{**chosen, "box": tuple(chosen["box"])}) if chosen else None
        return cls(**{**told, "chosen": choice})


def measure(
    composite: Composite,
    tile: int,
    prediction: Prediction,
    *,
    number: int,
    model: str,
    swapped: bool,
    judged: str | None,
) -> Trial:
    """What a model's answer to the prompt of a tile is worth.

    number: the composite's. Where several tiles show the class asked for, any of them is right, and
    the true mask is the one that fits best. Raises UsageError for a prediction of another size.
    """
    height, width = composite.image.shape[:2]
    if prediction.image_size != (height, width):
        raise UsageError(f"a prediction for a {prediction.image_size} picture is not of {(height, width)}")
    asked = composite.tiles[tile]
    right = [other for other in composite.tiles if other.label == asked.label]
    best = prediction.segments[0] if prediction.segments else None
    place = tile_of(best, composite.tiles) if best else None
    label = None if place is None else composite.tiles[place].label
    truths = [other.truth for other in right if other.truth is not None]
    return Trial(
        composite=number,
        tile=tile,
        model=model,
        swapped=swapped,
        picture=asked.picture,
        label=asked.label,
        text=prediction.prompt,
        segments=len(prediction.segments),
        chosen=_choice(best) if best else None,
        chosen_tile=place,
        chosen_label=label,
        hit=label == asked.label,
        judged=judged,
        iou=_best_iou(prediction.segments[:1], truths) if truths else None,
        best_iou=_best_iou(prediction.segments, truths) if truths else None,
        reachable=any(_reaches(segment, other) for segment in prediction.segments for other in right),
    )


def tile_of(segment: Segment, tiles: Sequence[Tile]) -> int | None:
    """The number of the tile that holds more than half of a segment; None where none does."""
    for index, tile in enumerate(tiles):
        if area_in(segment, tile.box) > MAJORITY * segment.area:
            return index
    return None


def area_in(segment: Segment, box: Box) -> int:
    """Pixels of a segment inside a box."""
    common = segment.box.intersect(box)
    if common is None:
        return 0
    x, y = segment.box.x1, segment.box.y1
    part = segment.patch[Box(common.x1 - x, common.y1 - y, common.x2 - x, common.y2 - y).slices]
    return int(part.sum())


def _reaches(segment: Segment, tile: Tile) -> bool:
    inside = area_in(segment, tile.box)
    return inside > MAJORITY * segment.area and inside >= REACHABLE * tile.box.width * tile.box.height


def _best_iou(segments: Sequence[Segment], truths: Sequence[Segment]) -> float:
    """0 where there is no segment."""
    return max((segment_iou(one, truth) for one in segments for truth in truths), default=0.0)


def _choice(segment: Segment) -> Choice:
    box = segment.box
    rle = encode_rle(segment.mask)
    return Choice(rle, (box.x1, box.y1, box.x2, box.y2), segment.area, segment.score)
