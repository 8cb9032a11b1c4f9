"""From the decoder's small logits to masks of the picture's size, computed only inside their boxes.

``Sam.postprocess_masks`` enlarges logits bilinearly to the encoder's input, cuts the padding off and
resizes to the picture. Both steps are linear along each axis, so together they are one small matrix an
axis. Its rows are weights that sum to 1: where all logits around are below a level, so is the result, and
only the rest is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from slip.masks import mask_box
from slip.types import Box

STABILITY_OFFSET = 1.0
"""How much stricter and looser the two masks are that stability compares (segment_anything's)."""


@dataclass(frozen=True, eq=False)
class Found:
    """A mask inside its box, a bit a pixel, with its area in pixels and its stability, 0 to 1."""

    box: Box
    bits: NDArray[np.uint8]
    area: int
    stability: float

    @property
    def patch(self) -> NDArray[np.bool_]:
        """The mask inside the box, ``bool (height, width)``."""
        count = self.box.height * self.box.width
        return np.unpackbits(self.bits, count=count).view(bool).reshape(self.box.height, self.box.width)


class FullSize:
    """Enlarges the logits of one picture.

    low: size of the logits; side: of the encoder's square input; seen: of the picture in it;
    size: of the picture itself. All (height, width) in pixels.
    """

    def __init__(
        self,
        low: tuple[int, int],
        side: int,
        seen: tuple[int, int],
        size: tuple[int, int],
        threshold: float,
        device: torch.device,
    ) -> None:
        self._rows = _Axis(low[0], side, seen[0], size[0], device)
        self._columns = _Axis(low[1], side, seen[1], size[1], device)
        self._threshold = threshold

    def find(self, logits: Tensor, least_stability: float) -> list[Found | None]:
        """The masks of ``float32 (M, h, w)`` logits; None for one that is empty or not stable enough."""
        logits = logits[:, : self._rows.seen, : self._columns.seen]
        loose = logits > self._threshold - STABILITY_OFFSET
        rows, columns = _extents(loose.any(2)), _extents(loose.any(1))
        return [
            self._find(each, down, across, least_stability) if down[1] else None
            for each, down, across in zip(logits, rows, columns, strict=True)
        ]

    def _find(
        self, logits: Tensor, rows: tuple[int, int], columns: tuple[int, int], least_stability: float
    ) -> Found | None:
        """Pixels above the looser threshold all lie within the reach of ``rows`` and ``columns``."""
        down, across = self._rows.window(*rows), self._columns.window(*columns)
        if down is None or across is None:
            return None
        full = down.weights @ logits[down.low, across.low] @ across.weights.T
        strict = torch.count_nonzero(full > self._threshold + STABILITY_OFFSET)
        loose = torch.count_nonzero(full > self._threshold - STABILITY_OFFSET)
        stability = np.float32(strict.item()) / np.float32(max(loose.item(), 1))
        if not stability >= np.float32(least_stability):
            return None
        mask = (full > self._threshold).cpu().numpy()
        tight = mask_box(mask)
        if tight is None:
            return None
        patch = mask[tight.slices]
        x, y = across.start, down.start
        box = Box(tight.x1 + x, tight.y1 + y, tight.x2 + x, tight.y2 + y)
        return Found(box, np.packbits(patch), int(np.count_nonzero(patch)), float(stability))


class _Window(NamedTuple):
    """The pixels of the picture from ``start`` on, as weighted sums of the small ones ``low``."""

    start: int
    low: slice
    weights: Tensor


class _Axis:
    """Along one axis, the weight of every small pixel in every pixel of the picture."""

    def __init__(self, low: int, side: int, seen: int, size: int, device: torch.device) -> None:
        enlarged = F.interpolate(torch.eye(low)[None], side, mode="linear", align_corners=False)
        fitted = F.interpolate(enlarged[..., :seen], size, mode="linear", align_corners=False)
        table = fitted[0].T.contiguous()
        self._touching = _extents(table.T > 0)
        self._touched = _extents(table > 0)
        self.seen = self._touched[-1][1]
        """How many of the small pixels show the picture; the rest are padding."""
        self._table = table.to(device)

    def window(self, start: int, end: int) -> _Window | None:
        """Every pixel of the picture that the small ones ``start`` to ``end`` (exclusive) touch.

        None where they touch none: of pictures smaller than the logits, many are skipped.
        """
        touching = [pixels for pixels in self._touching[start:end] if pixels[1]]
        if not touching:
            return None
        first, last = touching[0][0], touching[-1][1]
        low = slice(self._touched[first][0], self._touched[last - 1][1])
        return _Window(first, low, self._table[first:last, low])


def _extents(marked: Tensor) -> list[tuple[int, int]]:
    """First and end of what is marked in each row of ``bool (M, N)``; (0, 0) where nothing is."""
    table = marked.cpu().numpy()
    ends = (table.shape[1] - table[:, ::-1].argmax(1)) * table.any(1)
    return list(zip(table.argmax(1).tolist(), ends.tolist(), strict=True))
