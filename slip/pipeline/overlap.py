"""Stage 2: drop the segments that repeat others.

Pairs are compared inside the common rectangle of their boxes, and only where boxes and areas
leave the threshold within reach. Those bounds are exact, so the result is that of comparing
whole masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slip.errors import UsageError
from slip.masks import intersection
from slip.options import NMS_IOU, PAPER_CONTAINMENT, Overlap
from slip.types import Segment

Share = Callable[[Any, Any, Any], Any]
"""``share(common, area, other_area)`` in pixels: how much two masks overlap, 0 to 1. Never falls
as ``common`` grows. Takes integers or arrays of them."""


def drop_overlaps(segments: Sequence[Segment], method: Overlap) -> list[Segment]:
    """The segments of one picture without those that repeat others.

    ``nms``: greedily by predicted_iou * stability, the best first and ties in the given order, a
    segment goes when its mask IoU with one already kept exceeds NMS_IOU. Parts inside wholes
    stay. The order is kept.

    ``paper``: the SLIP filter (arXiv 2405.07284 and its code). A segment goes when more than
    PAPER_CONTAINMENT of its area lies inside any larger one, itself dropped or not; of equal
    areas the first given counts as the larger. Then the largest goes, taken to be the
    background. As published, a mask that swallows all others empties the list; here it is set
    aside as the background first, and only containment filters the rest. A lone segment stays.
    Largest first.

    ``none``: all of them.

    Raises UsageError for another method, or for segments of different pictures.
    """
    if method not in METHODS:
        raise UsageError(f"overlap {method!r} is not known; choose from {', '.join(METHODS)}")
    if len({segment.image_size for segment in segments}) > 1:
        raise UsageError("the segments are of pictures of different sizes; filter one picture at a time")
    return METHODS[method](segments)


def _nms(segments: Sequence[Segment]) -> list[Segment]:
    pairs = _Pairs(segments)
    quality = np.array([segment.trust for segment in segments])
    kept: list[int] = []
    for index in np.argsort(-quality, kind="stable"):
        if not pairs.any_above(_iou, NMS_IOU, index, kept):
            kept.append(index)
    return [segments[index] for index in sorted(kept)]


def _paper(segments: Sequence[Segment]) -> list[Segment]:
    by_area = sorted(segments, key=lambda segment: -segment.area)
    survivors = _uncontained(by_area)
    if len(survivors) == 1:
        return _uncontained(by_area[1:]) or survivors
    return survivors[1:]


def _uncontained(by_area: Sequence[Segment]) -> list[Segment]:
    pairs = _Pairs(by_area)
    return [
        segment
        for index, segment in enumerate(by_area)
        if not pairs.any_above(_inside, PAPER_CONTAINMENT, index, range(index))
    ]


METHODS: dict[Overlap, Callable[[Sequence[Segment]], list[Segment]]] = {
    "nms": _nms,
    "paper": _paper,
    "none": list,
}


def _iou(common: Any, area: Any, other_area: Any) -> Any:
    return common / (area + other_area - common)


def _inside(common: Any, area: Any, other_area: Any) -> Any:
    return common / area


class _Pairs:
    """Overlap of segments with each other, pixels counted only where a bound asks for it."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        boxes = [(s.box.x1, s.box.y1, s.box.x2, s.box.y2) for s in segments]
        self.boxes = np.array(boxes, np.int64).reshape(-1, 4)
        self.areas = np.array([segment.area for segment in segments], np.int64)

    def any_above(self, share: Share, threshold: float, index: int, others: Sequence[int]) -> bool:
        """Whether the overlap of segment ``index`` with any of ``others`` exceeds the threshold."""
        against = np.asarray(others, np.int64)
        area, areas = self.areas[index], self.areas[against]
        possible = share(self._most_common(index, against), area, areas) > threshold
        return any(
            share(intersection(self.segments[index], self.segments[other]), area, self.areas[other])
            > threshold
            for other in against[possible]
        )

    def _most_common(self, index: int, others: NDArray[np.int64]) -> NDArray[np.int64]:
        """The most pixels that segment ``index`` can share with each of ``others``."""
        box, boxes = self.boxes[index], self.boxes[others]
        corner = np.maximum(box[:2], boxes[:, :2])
        sides = np.maximum(np.minimum(box[2:], boxes[:, 2:]) - corner, 0)
        most: NDArray[np.int64] = np.minimum(sides.prod(axis=1), self.areas[others])
        return most.clip(max=self.areas[index])
