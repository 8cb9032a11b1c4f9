"""What a text prompt costs: the first of a picture, the second, and where points follow it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import get_args

from benchmarks.agreement import Agreement, same_choice
from benchmarks.timing import Timing, markdown
from slip.evaluation.tables import share
from slip.options import Points, propose_options
from slip.pipeline.slip import Slip
from slip.types import Image, Segment


@dataclass(frozen=True, eq=False)
class Picture:
    """What is searched, and what is then asked for."""

    image: Image
    prompts: tuple[str, ...] = ()


def second_prompt(pictures: Sequence[Picture]) -> str:
    """A line: what a second prompt on the same picture costs in the same process."""
    slip = Slip.load("tiny", device="cpu")
    slip.segment(pictures[0].image, "a bird")
    first, second = [], []
    for number, picture in enumerate(pictures):
        start = perf_counter()
        proposals = slip.propose(picture.image)
        slip.rank(proposals, f"{picture.prompts[0]} {number}")  # no text was asked before
        between = perf_counter()
        slip.rank(proposals, f"{picture.prompts[1]} {number}")
        second.append(perf_counter() - between)
        first.append(between - start)
    ratio = median(second) / median(first)
    return f"first prompt {Timing(tuple(first))}; second {Timing(tuple(second))}: {ratio:.2%}"


def by_points(pictures: Sequence[Picture]) -> str:
    """A table: a picture and a prompt from beginning to end, for each way to choose points.

    Its choices are compared with those of all points.
    """
    ways = get_args(Points)
    slips = {
        way: Slip.load("tiny", device="cpu", options=propose_options("tiny").but(points=way)) for way in ways
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    agreed = {way: Agreement() for way in ways}
    for slip in slips.values():
        slip.segment(pictures[0].image, "a bird")
    for image, prompt in _asked(pictures):
        best: dict[str, Segment | None] = {}
        for way, slip in slips.items():
            start = perf_counter()
            best[way] = next(iter(slip.segment(image, prompt).segments), None)
            seconds[way].append(perf_counter() - start)
        for way in ways:
            agreed[way].prompts.append(same_choice(best["exhaustive"], best[way]))
    rows = [
        (
            way,
            str(Timing(tuple(seconds[way]))),
            share(agreed[way].choices),
            share(agreed[way].identical_choices),
        )
        for way in ways
    ]
    return markdown(("points, one prompt", "the whole", "same choice at IoU >= .9", "identical"), rows)


def _asked(pictures: Sequence[Picture]) -> Iterator[tuple[Image, str]]:
    for picture in pictures:
        for prompt in picture.prompts:
            yield picture.image, prompt
