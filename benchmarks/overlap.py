"""The overlap filters on 500 masks of a 1024 px picture, against the same on whole masks.

python -m benchmarks.overlap

The masks are discs, rings and boxes of all sizes, a fifth of them near-duplicates of others,
and one fills the frame: what SAM returns of a busy picture, and more of it. Both sides get
masks in the form they work on, and must agree. Whole masks take minutes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import machine, measure
from slip.masks import segment_of
from slip.options import NMS_IOU, PAPER_CONTAINMENT, Overlap
from slip.pipeline.overlap import drop_overlaps
from slip.types import Segment
from tests import naive_overlap

COUNT, SIDE, SEED = 500, 1024, 0
RUNS, NAIVE_RUNS = 20, 3


def main() -> None:
    print(machine("slip-segment", "numpy"))
    masks, qualities = draw_masks()
    print(f"{COUNT} masks at {SIDE} x {SIDE}, {masks.mean():.1%} of the picture each on average, seed {SEED}")
    compare("nms", masks, qualities, lambda: naive_overlap.nms(masks, qualities, NMS_IOU))
    compare("paper", masks, qualities, lambda: naive_overlap.mended(masks, PAPER_CONTAINMENT))


def compare(
    method: Overlap, masks: NDArray[np.bool_], qualities: list[float], naive: Callable[[], list[int]]
) -> None:
    segments = [make_segment(mask, quality) for mask, quality in zip(masks, qualities, strict=True)]
    index = {id(segment): place for place, segment in enumerate(segments)}
    kept = [index[id(segment)] for segment in drop_overlaps(segments, method)]
    ours = measure(lambda: drop_overlaps(segments, method), RUNS)
    answers: list[list[int]] = []
    theirs = measure(lambda: answers.append(naive()), NAIVE_RUNS, warm_up=0)
    agree = all(answer == kept for answer in answers)
    print(f"{method}: {len(kept)} kept, {'the same' if agree else 'NOT THE SAME'} as whole masks keep")
    print(f"  ours   {ours}")
    print(f"  naive  {theirs}")
    print(f"  ratio  {theirs.median / ours.median:.0f} x")


def make_segment(mask: NDArray[np.bool_], quality: float) -> Segment:
    segment = segment_of(mask, predicted_iou=quality)
    if segment is None:
        raise ValueError("a mask of the benchmark is empty")
    return segment


def draw_masks() -> tuple[NDArray[np.bool_], list[float]]:
    """``bool (COUNT, SIDE, SIDE)`` and the quality of each."""
    random = np.random.default_rng(SEED)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    masks = np.zeros((COUNT, SIDE, SIDE), bool)
    masks[0] = True
    shapes: list[tuple[float, ...]] = []
    for mask in masks[1:]:
        if shapes and random.random() < 0.2:
            row, column, height, width, hole, power = shapes[random.integers(len(shapes))]
            row, column = row + random.uniform(-2, 2), column + random.uniform(-2, 2)
        else:
            row, column = random.uniform(0, SIDE, 2)
            height, width = np.exp(random.uniform(np.log(6), np.log(SIDE / 2), 2))
            hole, power = random.choice([0, 0, 0.7]), random.choice([2, 8])
            shapes.append((row, column, height, width, hole, power))
        distance = np.abs((y - row) / height) ** power + np.abs((x - column) / width) ** power
        mask |= (distance <= 1) & (distance >= hole)
    return masks, random.uniform(0.88, 1, COUNT).round(3).tolist()


if __name__ == "__main__":
    main()
