"""One answer: what was asked of a method, what it said, and how that compares with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from slip.data.parts import Triple
from slip.errors import UsageError
from slip.masks import encode_rle, intersection
from slip.types import Prediction, Segment

EPSILON = 1e-6
"""Added to a union, as CRIS does: nothing is divided by nothing."""


@dataclass(frozen=True)
class Answer:
    """A method's answer to a triple, at the picture's own size.

    part: its category. expression: the words the method was given.
    intersection, union, truth: pixels the answer has in common with the true mask, pixels in either, and
    in the true mask.
    iou: ``intersection / (union + 1e-6)``; 0 where nothing was found.
    segments: how many there were to answer with. score: the answer's, 0 to 1; perhaps none.
    box: xyxy pixels, far sides exclusive. rle: the mask, COCO's code. Both are None where nothing was found.
    """

    method: str
    picture: str
    part: str
    expression: str
    intersection: int
    union: int
    truth: int
    iou: float
    segments: int
    score: float | None
    box: tuple[int, int, int, int] | None
    rle: dict[str, Any] | None

    @property
    def found(self) -> bool:
        """Whether the method answered at all."""
        return self.rle is not None

    @property
    def key(self) -> tuple[str, str]:
        """What answers of different methods share: the picture and the part."""
        return self.picture, self.part

    def to_json(self) -> dict[str, Any]:
        """Plain values for a line of JSON."""
        return {**asdict(self), "found": self.found}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Answer:
        """The answer of such values. Raises TypeError, KeyError for others."""
        box = tuple(told["box"]) if told["box"] else None
        return cls(**{name: told[name] for name in told if name != "found"} | {"box": box})


def answer(prediction: Prediction, truth: Segment, triple: Triple, method: str, *, best: int = 0) -> Answer:
    """What a prediction is worth as an answer to a triple.

    Taken is the segment with the highest score, whether it is a match or not: the part is always there.
    best: take of so many segments, the first, the one that fits the truth best instead: an upper bound.

    Raises UsageError for a prediction of another size than the truth.
    """
    if prediction.image_size != truth.image_size:
        raise UsageError(f"a prediction for a {prediction.image_size} picture is not of {truth.image_size}")
    taken = _fitting(prediction.segments[:best], truth) if best else prediction.candidate
    both, union = overlap_of(taken, truth)
    return Answer(
        method=method,
        picture=triple.picture.name,
        part=triple.part.category,
        expression=triple.expression,
        intersection=both,
        union=union,
        truth=truth.area,
        iou=both / (union + EPSILON),
        segments=len(prediction.segments),
        score=None if taken is None or taken.score is None else float(taken.score),
        box=(taken.box.x1, taken.box.y1, taken.box.x2, taken.box.y2) if taken else None,
        rle=encode_rle(taken.mask) if taken else None,
    )


def overlap_of(segment: Segment | None, truth: Segment) -> tuple[int, int]:
    """Pixels in both, and in either."""
    if segment is None:
        return 0, truth.area
    both = intersection(segment, truth)
    return both, segment.area + truth.area - both


def _fitting(segments: Sequence[Segment], truth: Segment) -> Segment | None:
    """The segment with the highest IoU, the first of equals; None where there is none."""
    found, highest = None, -1.0
    for segment in segments:
        both, union = overlap_of(segment, truth)
        if both / union > highest:
            found, highest = segment, both / union
    return found
