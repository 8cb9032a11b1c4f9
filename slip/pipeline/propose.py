"""Stage 1: every segment of a picture, searched at a working resolution."""

from __future__ import annotations

import cv2

from slip.masks import resize_segment
from slip.types import Image, Progress, Proposer, Segment


def propose_segments(proposer: Proposer, image: Image, progress: Progress | None = None) -> list[Segment]:
    """Every segment that ``proposer`` finds in ``image``, in its order and at the image's size.

    image: ``uint8 (H, W, 3)`` RGB. One with a side longer than the proposer looks at is reduced to
    that for the search, and its segments are enlarged again: time and memory of a search grow
    with points x pixels, and pixels the network never sees add nothing.
    """
    working = _reduce(image, proposer.image_size)
    segments = proposer.propose(working, progress)
    if working is image:
        return segments
    size = (image.shape[0], image.shape[1])
    enlarged = (resize_segment(segment, size) for segment in segments)
    return [segment for segment in enlarged if segment is not None]


def _reduce(image: Image, side: int) -> Image:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    reduced: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return reduced
