"""The records that travel through the pipeline, and the protocols its stages meet.

Layouts: an image is ``uint8 (H, W, 3)`` RGB; a mask is ``bool (H, W)``; a box is xyxy in
pixels with x2 and y2 exclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import log, log1p
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from slip.errors import NoMatch

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Features = NDArray[np.float32]
Progress = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)`` while a stage works."""

_IMPOSSIBLE, _CERTAIN = -746.0, 38.0
"""Log-odds beyond those of the smallest and of the largest number between 0 and 1."""


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: xyxy, x2 and y2 exclusive."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.y2 - self.y1

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the box in an array of layout ``(H, W, ...)``."""
        return slice(self.y1, self.y2), slice(self.x1, self.x2)

    def intersect(self, other: Box) -> Box | None:
        """The common rectangle, or None where the boxes share no pixel."""
        x1, y1 = max(self.x1, other.x1), max(self.y1, other.y1)
        x2, y2 = min(self.x2, other.x2), min(self.y2, other.y2)
        return Box(x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


@dataclass(frozen=True, eq=False)
class Segment:
    """One region of a picture. Only the mask inside its box is stored.

    patch: ``bool (box.height, box.width)``, the mask inside the box; never empty.
    image_size: (height, width) of the picture.
    predicted_iou: the mask model's own estimate of its IoU, finite; it may stray beyond 0 to 1.
    stability: IoU of the mask with itself at a stricter and a looser threshold, 0 to 1.
    Both are None where nothing was estimated.
    score: how likely the segment is what the prompt names, 0 to 1; None until ranked.
    """

    patch: Mask
    box: Box
    image_size: tuple[int, int]
    predicted_iou: float | None = None
    stability: float | None = None
    score: float | None = None

    @cached_property
    def area(self) -> int:
        """Pixels in the mask."""
        return int(np.count_nonzero(self.patch))

    @property
    def trust(self) -> float:
        """How far the mask model trusts the mask: predicted IoU x stability; 1 where it did not say."""
        iou, stability = self.predicted_iou, self.stability
        return (1.0 if iou is None else iou) * (1.0 if stability is None else stability)

    @property
    def mask(self) -> Mask:
        """The whole mask, ``bool (H, W)``; a new array at each call."""
        full = np.zeros(self.image_size, bool)
        full[self.box.slices] = self.patch
        return full

    def scored(self, score: float) -> Segment:
        """The same segment with a score."""
        return replace(self, score=score)


@dataclass(frozen=True, eq=False)
class Proposals:
    """Every segment kept of one picture, before any text: what many prompts can share.

    image: the picture, ``uint8 (H, W, 3)`` RGB.
    segments: what the overlap filter kept, in its order, at the picture's size.
    found: how many segments there were before the filter.
    timings: seconds spent per stage.
    """

    image: Image
    segments: Sequence[Segment]
    found: int
    timings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Prediction:
    """The segments of a picture, ranked against a prompt, best first.

    segments: all of them, at the picture's size.
    image_size: (height, width) of the picture.
    timings: seconds spent per stage.
    min_score: segments with a lower score are no match, 0 to 1.
    scores: of the segments, so that none must be looked at to know; taken from them where left out.
    order: where each segment stood among those of the proposals; as given where left out.
    odds: the log-odds behind the scores, which tell apart what is rounded to the same score; taken from
    the scores where left out.
    """

    prompt: str
    segments: Sequence[Segment]
    image_size: tuple[int, int]
    timings: Mapping[str, float] = field(default_factory=dict)
    min_score: float = 0.0
    scores: tuple[float, ...] = ()
    order: tuple[int, ...] = ()
    odds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.scores:
            object.__setattr__(self, "scores", tuple(segment.score or 0.0 for segment in self.segments))
        if not self.order:
            object.__setattr__(self, "order", tuple(range(len(self.segments))))
        if not self.odds:
            object.__setattr__(self, "odds", tuple(map(log_odds_of, self.scores)))

    @property
    def found(self) -> bool:
        """Whether any segment is a match."""
        return bool(self.scores) and self.scores[0] >= self.min_score

    @property
    def matches(self) -> Sequence[Segment]:
        """The segments that reach ``min_score``, best first."""
        return self.segments[: sum(score >= self.min_score for score in self.scores)]

    @property
    def candidate(self) -> Segment | None:
        """The segment with the highest score, a match or not; None where there is no segment."""
        return self.segments[0] if self.scores else None

    @property
    def best(self) -> Segment:
        """The best match. Raises NoMatch when there is none."""
        if self.found:
            return self.segments[0]
        if self.scores:
            raise NoMatch(
                f"no match for {self.prompt!r}: the best candidate scores {self.scores[0]:.2f}, "
                f"below {self.min_score:.2f}"
            )
        raise NoMatch(
            f"no segment found for {self.prompt!r}; try other words, more points or lower thresholds"
        )


def log_odds_of(score: float) -> float:
    """The log-odds of a score, 0 to 1; at both ends finite, and beyond those of every score between."""
    if not 0 < score < 1:
        return _CERTAIN if score >= 1 else _IMPOSSIBLE
    return log(score) - log1p(-score)


class Proposer(Protocol):
    """Finds every segment of a picture, with no text."""

    name: str

    @property
    def image_size(self) -> int:
        """Side in pixels beyond which it sees no more: larger pictures may be reduced to it."""
        ...

    def propose(self, image: Image, progress: Progress | None = None) -> list[Segment]:
        """Segments of ``image`` in a deterministic order; may be empty."""
        ...


@runtime_checkable
class GuidedProposer(Proposer, Protocol):
    """A proposer that can be told where to look."""

    guided: bool
    """Whether it wants to be."""

    def propose_guided(
        self, image: Image, interest: Features, progress: Progress | None = None
    ) -> list[Segment]:
        """As ``propose``, looking where ``interest``, ``float32 (h, w)`` over the picture, is high."""
        ...


class Encoder(Protocol):
    """A dual encoder of pictures and text with one space for both."""

    name: str

    @property
    def image_size(self) -> int:
        """Side of the square pictures that ``encode_images`` takes."""
        ...

    @property
    def logit_scale(self) -> float:
        """What a cosine similarity is multiplied by before a softmax."""
        ...

    def encode_images(self, crops: Image) -> Features:
        """``uint8 (N, S, S, 3)`` RGB to ``float32 (N, D)`` with unit rows."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Features:
        """Texts to ``float32 (M, D)`` with unit rows. Warns (SlipWarning) where one is cut."""
        ...


@runtime_checkable
class DenseEncoder(Encoder, Protocol):
    """An encoder that also knows what is where in a picture."""

    def encode_dense(self, image: Image) -> Features:
        """A picture to ``float32 (h, w, D)``, a unit vector for each of h x w places."""
        ...


class Classifier(Protocol):
    """Says which class a picture shows: the judge of an evaluation."""

    name: str
    classes: tuple[str, ...]
    image_size: int
    """Side of the square pictures that ``classify`` takes."""

    def classify(self, crops: Image) -> Features:
        """``uint8 (N, S, S, 3)`` RGB to the probabilities of the classes, ``float32 (N, C)``."""
        ...


class Segmenter(Protocol):
    """Anything that answers a picture and a text with ranked segments."""

    def segment(self, image: Image, prompt: str) -> Prediction:
        """The segments of ``image`` ranked against ``prompt``, best first; perhaps none."""
        ...

    def segment_each(self, image: Image, prompts: Sequence[str]) -> list[Prediction]:
        """``segment`` for each of ``prompts``, in their order, for the price of one search."""
        ...
