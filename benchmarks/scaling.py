"""How time and memory grow with points, with the picture's size and with segments.

    python -m benchmarks.scaling [--out growth.png]

The tiny SAM on drawn scenes: our search and segment_anything's generator, each as the pipeline calls it,
so that a large picture is searched at a working resolution. Then what follows a search: dropping overlaps
and ranking, of drawn outlines of critters, things and their parts, all taken to lie in one picture.

Every measurement has a process of its own; those of one size are asked in turn. Memory is the most that
the process held less what it held before. The exponent is the slope of the line fitted to the logarithms:
1 where twice as much takes twice as long. On two cores it takes about 7 minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from statistics import median

import numpy as np
from rich.progress import track

from benchmarks.timing import machine, markdown
from benchmarks.workers import Job, Worker
from recipes.evaluate import Remembered
from slip.charts import line_chart
from slip.data.critters import make_scene
from slip.device import resolve, resolve_for_sam
from slip.errors import SlipError
from slip.images import encode_png
from slip.masks import segment_of
from slip.models import load_encoder, load_proposer
from slip.options import ProposeOptions, ProposerName, propose_options
from slip.outputs import check_outputs, write_file
from slip.pipeline.propose import propose_segments
from slip.pipeline.slip import Slip
from slip.types import Image, Segment

FIRST_SCENE = 950_000
PER_SIDE = (8, 16, 32, 64)
SIZES = (256, 512, 1024, 2048, 4096)
SEGMENTS = (50, 100, 200, 400, 800, 1600)


Jobs = Mapping[str, Callable[[], Job]]
"""What to build in which worker, by its name."""
Curves = dict[str, list[tuple[float, float]]]
"""What was measured at each place, by the name of the curve."""


@dataclass(frozen=True)
class Growth:
    """One thing that grows. what: in words, for the axis. seconds, memory (MiB): its curves."""

    what: str
    seconds: Curves
    memory: Curves


class Search:
    """A worker's job: every segment of a picture."""

    def __init__(self, kind: ProposerName, options: ProposeOptions) -> None:
        compute = resolve_for_sam("tiny", "cpu")
        self._proposer = load_proposer("tiny", options, compute, proposer=kind)
        self._few = load_proposer("tiny", replace(options, points_per_side=4), compute, proposer=kind)

    def warm_up(self) -> None:
        self._few.propose(make_scene(FIRST_SCENE).image)

    def run(self, image: Image) -> dict[str, float]:
        propose_segments(self._proposer, image)
        return {}

    def report(self, stages: dict[str, float]) -> dict[str, float]:
        return stages


class Rank:
    """A worker's job: what follows a search that found some number of segments."""

    def __init__(self, segments: int) -> None:
        self._encoder = load_encoder("tiny", None, resolve("cpu"))
        self._segments = list(islice(outlines(), segments))
        self._prompts = count()

    def warm_up(self) -> None:
        self._rank(make_scene(FIRST_SCENE).image, self._segments[:8])

    def run(self, image: Image) -> dict[str, float]:
        return self._rank(image, self._segments)

    def report(self, stages: dict[str, float]) -> dict[str, float]:
        return stages

    def _rank(self, image: Image, segments: list[Segment]) -> dict[str, float]:
        slip = Slip(Remembered(segments), self._encoder)
        proposals = slip.propose(image)
        first = slip.rank(proposals, f"a bird {next(self._prompts)}").timings
        second = slip.rank(proposals, f"a fish {next(self._prompts)}").timings
        return {
            "dropping overlaps": first["overlap"],
            "crops": first["crop"],
            "first prompt": first["encode"] + first["rank"],
            "second prompt": second["encode"] + second["rank"],
        }


def outlines() -> Iterator[Segment]:
    """Critters, things and parts of one drawn scene after the other."""
    for number in count(FIRST_SCENE):
        scene = make_scene(number)
        for thing in scene.things:
            for mask in (scene.mask(thing), *scene.part_masks(thing).values()):
                segment = segment_of(mask)
                if segment:
                    yield segment


def grow(what: str, places: Mapping[int, tuple[Image, Jobs]], repeats: int) -> Growth:
    """Measures at every place. places: the picture and the jobs of each, by their number."""
    seconds: Curves = {}
    memory: Curves = {}
    for place, (image, jobs) in track(places.items(), what):
        with ExitStack() as stack:
            workers = {name: Worker(build) for name, build in jobs.items()}
            for worker in workers.values():
                stack.callback(worker.close)
            rounds = [{name: worker(image) for name, worker in workers.items()} for _ in range(repeats)]
        for name, worker in workers.items():
            answers = [each[name] for each in rounds]
            for stage in answers[0].report or {"": None}:
                spent = median(one.report.get(stage, one.seconds) for one in answers)
                seconds.setdefault(stage or name, []).append((place, spent))
            most = max(one.peak for one in answers) - worker.resident
            memory.setdefault(name, []).append((place, most / 2**20))
    return Growth(what, seconds, memory)


def growths(repeats: int) -> list[Growth]:
    """Of points, picture size and segments."""
    scene, options = make_scene(FIRST_SCENE).image, propose_options("tiny")
    by_points = {side**2: (scene, searches(options.but(side))) for side in PER_SIDE}
    by_size = {side: (make_scene(FIRST_SCENE, size=side).image, searches(options)) for side in SIZES}
    by_segments = {number: (scene, {"ranking": partial(Rank, number)}) for number in SEGMENTS}
    return [
        grow("points", by_points, repeats),
        grow("side of the picture, px", by_size, repeats),
        grow("segments", by_segments, repeats),
    ]


def searches(options: ProposeOptions) -> Jobs:
    """Both searches, to be built."""
    exhaustive = replace(options, points="exhaustive")
    return {
        "reference": partial(Search, "reference", exhaustive),
        "ours": partial(Search, "fast", options),
    }


def exponent(curve: Sequence[tuple[float, float]]) -> float:
    """The slope of the line fitted to the logarithms; of what is above 0."""
    places, values = np.array([point for point in curve if point[1] > 0]).T
    return float(np.polyfit(np.log(places), np.log(values), 1)[0])


def table(growth: Growth) -> str:
    """A row a curve, as Markdown."""
    places = [f"{place:,.0f}" for place, _ in next(iter(growth.memory.values()))]
    kinds = (("s", growth.seconds), ("MiB", growth.memory))
    rows = [
        (f"{name}, {unit}", *(f"{value:.3g}" for _, value in curve), f"{exponent(curve):.2f}")
        for unit, curves in kinds
        for name, curve in curves.items()
    ]
    return markdown((growth.what, *places, "exponent"), rows)


def picture(measured: Sequence[Growth]) -> Image:
    """A row of charts for each growth: time and memory."""
    rows = [
        np.hstack(
            [
                line_chart(growth.seconds, "Time", growth.what, "seconds", logarithmic=True),
                line_chart(growth.memory, "Memory", growth.what, "MiB", logarithmic=True),
            ]
        )
        for growth in measured
    ]
    return np.vstack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where the growth goes as a picture (PNG)")
    parser.add_argument("--overwrite", action="store_true", help="replace the picture that is there")
    arguments = parser.parse_args()
    out = arguments.out
    try:
        check_outputs([out] if out else [], overwrite=arguments.overwrite)
        print(machine("slip-segment", "segment-anything", "torch", "numpy"), flush=True)
        measured = growths(arguments.repeats)
        for growth in measured:
            print(table(growth))
        if out:
            write_file(out, encode_png(picture(measured)), overwrite=arguments.overwrite)
    except SlipError as error:
        parser.exit(error.exit_code, f"{error}\n")


if __name__ == "__main__":
    main()
