"""How fast scenes of critters are drawn on one core.

python -m benchmarks.critters

Each run draws the same 40 scenes of 256 px with four critters and two distractors. The time is the
processor's, not the clock's, so that other work on the machine counts little.
"""

from __future__ import annotations

from time import process_time

import cv2

from benchmarks.timing import machine, measure
from slip.data.critters import make_scene
from slip.options import CRITTERS, Style

SCENES, RUNS = 40, 7


def main() -> None:
    cv2.setNumThreads(1)
    print(machine("slip-segment", "numpy", "opencv-python"))
    print(f"scenes of {CRITTERS.size} px, {CRITTERS.critters} critters, {CRITTERS.distractors} distractors")
    styles: tuple[Style, ...] = ("picture", "artwork")
    for style in styles:
        report(style)


def report(style: Style) -> None:
    timing = measure(lambda: draw(style), RUNS, clock=process_time)
    low, high = (SCENES / seconds for seconds in (max(timing.seconds), min(timing.seconds)))
    print(
        f"{style}: median {SCENES / timing.median:.0f} scenes/s, from {low:.0f} to {high:.0f} "
        f"in {RUNS} runs of {SCENES} scenes, processor time"
    )


def draw(style: Style) -> None:
    for seed in range(SCENES):
        make_scene(seed, style=style)


if __name__ == "__main__":
    main()
