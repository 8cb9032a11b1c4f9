"""The overlap filters on whole masks, as plainly as they can be said.

Masks are ``bool (N, H, W)``; each function returns the indices kept, in the order of the result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy import count_nonzero as count
from numpy.typing import NDArray

Masks = NDArray[np.bool_]


def nms(masks: Masks, qualities: Sequence[float], threshold: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(masks)), key=lambda i: -qualities[i]):
        if all(count(masks[i] & masks[j]) / count(masks[i] | masks[j]) <= threshold for j in kept):
            kept.append(i)
    return sorted(kept)


def uncontained(masks: Masks, order: Sequence[int], threshold: float) -> list[int]:
    kept = []
    for place, i in enumerate(order):
        if all(count(masks[i] & masks[j]) / count(masks[i]) <= threshold for j in order[:place]):
            kept.append(i)
    return kept


def published(masks: Masks, threshold: float) -> list[int]:
    """As published: the largest that is left goes, even when it is the last."""
    return uncontained(masks, _by_area(masks), threshold)[1:]


def mended(masks: Masks, threshold: float) -> list[int]:
    """As published, and where that is empty, the largest is set aside before the filter."""
    order = _by_area(masks)
    if len(order) < 2:
        return order
    return published(masks, threshold) or uncontained(masks, order[1:], threshold)


def _by_area(masks: Masks) -> list[int]:
    return sorted(range(len(masks)), key=lambda i: -count(masks[i]))
