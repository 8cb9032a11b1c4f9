"""Many small pictures: does memory grow with their number, and what is gained by overlapping the stages?

    python -m benchmarks.many [--pictures 100 300 1000]

Drawn scenes of 96 x 96 pixels with two critters, one prompt, the tiny models at 8 x 8 points with
--always, so that there is a mask to write for each. ``batch`` is what ``slip segment FOLDER PROMPT -o
DIR`` runs: while a picture is searched, the next is read and the last is written. ``one by one`` writes
the same files and lines, but reads, searches and writes a picture before the next: what a loop in a shell
would do if starting took no time.

Every measurement has a process of its own, which has done 20 other pictures before. Memory is the most
that the process held. Nothing is taken from the cache. On two cores it takes about 15 minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.timing import machine, markdown
from benchmarks.workers import Answer, Worker
from slip.batch.job import Job
from slip.batch.journal import Results
from slip.batch.run import run
from slip.batch.sources import Task, find_tasks
from slip.batch.work import process
from slip.data.critters import make_scene
from slip.images import encode_png
from slip.options import propose_options
from slip.outputs import write_file
from slip.pipeline.slip import Slip

PROMPT = "a red bird"
FIRST_SCENE = 970_000
SIDE = 96
POINTS_PER_SIDE = 8
WARM_UP = 20
Way = Callable[[Slip, Job, Results], None]


@dataclass(frozen=True)
class Order:
    """A folder of pictures, and the new folder where their results go."""

    pictures: Path
    results: Path

    def open(self) -> tuple[Job, list[Task]]:
        return Job(self.results), find_tasks([str(self.pictures)], [PROMPT], output=self.results)


class Searches:
    """A worker's job: a folder of pictures, in one way."""

    def __init__(self, way: Way, warm_up: Order) -> None:
        options = propose_options("tiny").but(points_per_side=POINTS_PER_SIDE)
        self._slip = Slip.load("tiny", device="cpu", options=options, min_score=0)
        self._way = way
        self._first = warm_up

    def warm_up(self) -> None:
        self.run(self._first)

    def run(self, order: Order) -> dict[str, int]:
        job, tasks = order.open()
        with closing(Results.open(job, tasks)) as results:
            self._way(self._slip, job, results)
            return {str(status): count for status, count in results.tally.items()}

    def report(self, tally: dict[str, int]) -> dict[str, int]:
        return tally


def batch(slip: Slip, job: Job, results: Results) -> None:
    run(results.pending, slip, job, results, lambda _: None)


def one_by_one(slip: Slip, job: Job, results: Results) -> None:
    for task in results.pending:
        results.add(process(slip, task, job).rows)


WAYS: dict[str, Way] = {"batch": batch, "one by one": one_by_one}


def draw(folder: Path, count: int, first: int) -> Path:
    """Scenes as PNG, ten to a folder."""
    for number in range(count):
        path = folder / f"{number // 10:03}" / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene = make_scene(first + number, size=SIDE, critters=2, distractors=1)
        write_file(path, encode_png(scene.image), overwrite=False)
    return folder


def measure(way: str, pictures: Path, warm_up: Path, place: Path) -> tuple[Answer, int]:
    """What a way takes, and the bytes its process held before anything was searched."""
    worker = Worker(partial(Searches, WAYS[way], Order(warm_up, place / "warm-up")))
    try:
        return worker(Order(pictures, place / "results")), worker.resident
    finally:
        worker.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, nargs="+", default=[100, 300, 1000])
    arguments = parser.parse_args()
    print(machine("slip-segment", "torch", "numpy", "pillow"), flush=True)
    columns = ("way", "pictures", "peak, MiB", "above loaded, MiB", "pictures/s", "results")
    print(markdown(columns, []), flush=True)
    with TemporaryDirectory() as name:
        place = Path(name)
        warm_up = draw(place / "warm-up", WARM_UP, FIRST_SCENE - WARM_UP)
        for count in arguments.pictures:
            pictures = draw(place / str(count), count, FIRST_SCENE)
            for way in WAYS:
                answer, before = measure(way, pictures, warm_up, place / f"{way} {count}")
                memory = f"{answer.peak / 2**20:,.0f}", f"{(answer.peak - before) / 2**20:,.0f}"
                told = ", ".join(f"{number} {status}" for status, number in answer.report.items())
                cells = (way, f"{count:,}", *memory, f"{count / answer.seconds:.2f}", told)
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
