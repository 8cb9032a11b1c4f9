"""Stage 1: every segment of a picture, searched at a working resolution."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from slip.masks import Enlarged
from slip.types import Features, GuidedProposer, Image, Progress, Proposer, Segment


def propose_segments(
    proposer: Proposer,
    image: Image,
    progress: Progress | None = None,
    interest: Features | None = None,
) -> Sequence[Segment]:
    """Every segment that ``proposer`` finds in ``image``, in its order and at the image's size.

    interest: ``float32 (h, w)`` over the whole picture: where a guided proposer is to look.
    image: ``uint8 (H, W, 3)`` RGB. One with a side longer than the proposer looks at is reduced to
    that for the search, and its segments are enlarged again, each when it is taken: time and memory
    of a search grow with points x pixels, and pixels the network never sees add nothing.
    """
    return at_size_of(image, search(proposer, image, progress, interest))


def search(
    proposer: Proposer,
    image: Image,
    progress: Progress | None = None,
    interest: Features | None = None,
) -> list[Segment]:
    """As ``propose_segments``, with the segments at the size of the search."""
    working = _reduce(image, proposer.image_size)
    if interest is not None and isinstance(proposer, GuidedProposer):
        return proposer.propose_guided(working, interest, progress)
    return proposer.propose(working, progress)


def at_size_of(image: Image, segments: Sequence[Segment]) -> Sequence[Segment]:
    """Segments of one reduced picture, as they are in ``image``."""
    size = (image.shape[0], image.shape[1])
    if all(segment.image_size == size for segment in segments):
        return segments
    return Enlarged(segments, size)


def _reduce(image: Image, side: int) -> Image:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    reduced: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return reduced


class Remembering:
    """A proposer that answers a second question about the same picture from memory.

    Several encoders can so be compared on one search, as long as all of them are asked about a
    picture before any is asked about the next: only the last one is kept.
    """

    def __init__(self, proposer: Proposer) -> None:
        self.proposer = proposer
        self.name = proposer.name
        self.image_size = proposer.image_size
        self._last: tuple[Image, list[Segment]] | None = None

    def propose(self, image: Image, progress: Progress | None = None) -> list[Segment]:
        """The segments the proposer finds in ``image``, or found in it the last time."""
        if self._last is None or not np.array_equal(self._last[0], image):
            self._last = image.copy(), self.proposer.propose(image, progress)
        return list(self._last[1])
