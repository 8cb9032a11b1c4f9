"""Our search for segments against segment_anything's own generator, and what each trick brings.

    python -m benchmarks.proposals                              tiny SAM on drawn scenes, and prompts
    python -m benchmarks.proposals --pictures FOLDER            tiny SAM on the pictures of a folder
    python -m benchmarks.proposals --sam vit_b                  random weights, 1,024 x 768, 32 points a side
    python -m benchmarks.proposals --tricks                     a row for every trick, alone and together
    python -m benchmarks.proposals --sam vit_h --device cuda    pictures/s, batch sizes and memory of a GPU

Same weights, pictures, points and thresholds in one run. Every side is a process of its own, which
stays; pictures go to all of them in turn, each round in the other direction, so that a busy moment of the
machine meets all of them; tricks in heats, each compared with the reference of its heat. Memory is the
most that the process held during a search.

The masks of random weights mean nothing and are much alike: nearly all of them are duplicates, so for
these not the segments but all masks of some points are compared. Their thresholds are such that about a
tenth of the masks passes; those that do cover nearly everything, and adaptive search leaves out what it
may. One row asks the share of points that the tiny SAM is asked on drawn scenes; what a trained ViT-B
would be asked was not measured.

On two quiet cores 100 scenes take about a quarter of an hour, ViT-B 3 minutes and 4 more for each repeat,
all tricks on 30 scenes or on ViT-B at 8 points a side about 10.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from rich.progress import track
from segment_anything import sam_model_registry

from benchmarks.agreement import Agreement, Sample, against_library, chosen, nearest, same_choice, sample
from benchmarks.prompts import Picture, by_points, second_prompt
from benchmarks.timing import Timing, machine, markdown
from benchmarks.tricks import (
    ADAPTIVE,
    ADAPTIVE_BF16,
    AS_MANY_POINTS,
    EXHAUSTIVE,
    REFERENCE,
    TRICKS,
    Setup,
    Side,
    load,
    reference_in_float,
)
from benchmarks.workers import Answer, Worker
from slip.data.critters import make_scene
from slip.device import resolve, resolve_for_sam
from slip.errors import SlipError, UsageError
from slip.evaluation.tables import share
from slip.images import load_image
from slip.models import load_encoder
from slip.models.sam.decoder import MASKS
from slip.options import ProposeOptions, propose_options
from slip.types import Encoder

FIRST_SCENE = 950_000
PASSING = 0.1
"""Share of the masks of random weights that is to pass both thresholds."""
SAMPLE = 8
"""Points a side where masks of random weights are looked at."""
PROMPTED = 50
"""Scenes where prompts are timed from beginning to end."""
HEAT = 6
"""Tricks that run together with the reference: more processes would need more memory."""
PAIRS = (
    REFERENCE,
    EXHAUSTIVE,
    ADAPTIVE,
    ADAPTIVE_BF16,
    Side("reference, 32 points a side", REFERENCE.make, per_side=32, against="reference, 32 points a side"),
    Side(
        "ours, adaptive, 32 points a side",
        ADAPTIVE.make,
        "adaptive",
        per_side=32,
        against="reference, 32 points a side",
    ),
)


@dataclass
class Measured:
    """All answers of one side. reference: what it is compared with."""

    side: Side
    resident: int
    reference: Measured = field(init=False)
    answers: list[Answer] = field(default_factory=list)
    agreement: Agreement = field(default_factory=Agreement)

    @property
    def timing(self) -> Timing:
        return Timing(tuple(answer.seconds for answer in self.answers))

    @property
    def peak(self) -> int:
        return max(answer.peak for answer in self.answers)

    def stage(self, name: str) -> float:
        """Median seconds a picture."""
        return float(median(answer.report.stages.get(name, 0.0) for answer in self.answers))

    @property
    def rest(self) -> float:
        """Median seconds in no stage."""
        return float(median(one.seconds - sum(one.report.stages.values()) for one in self.answers))

    def count(self, name: str) -> float:
        """Mean number a picture."""
        return float(np.mean([answer.report.counts.get(name, 0) for answer in self.answers]))


@dataclass(frozen=True, eq=False)
class Case:
    """What all sides are asked. trained: whether masks mean something, and so can be compared."""

    sam: str
    device: str
    options: ProposeOptions
    pictures: Sequence[Picture]
    trained: bool

    def hire(self, side: Side) -> Worker:
        setup = Setup(side, self.sam, self.options, self.device, self.pictures[0].image)
        return Worker(setup, side.environment)


def race(case: Case, sides: Sequence[Side], repeats: int) -> list[Measured]:
    """Every side on every picture, in turn."""
    encoder = load_encoder("tiny", None, resolve("cpu"))
    with ExitStack() as stack:
        workers = {}
        for side in track(sides, "workers"):
            workers[side.name] = case.hire(side)
            stack.callback(workers[side.name].close)
        measured = {side.name: Measured(side, workers[side.name].resident) for side in sides}
        for one in measured.values():
            one.reference = measured[one.side.against]
        rounds = [picture for _ in range(repeats) for picture in case.pictures]
        for number, picture in enumerate(track(rounds, "pictures")):
            names = list(workers)[:: 1 if number % 2 == 0 else -1]
            answers = {name: workers[name](picture.image) for name in names}
            if case.trained and number < len(case.pictures):
                compare(picture, measured, answers, encoder)
            for name, answer in answers.items():
                lean = replace(answer, report=replace(answer.report, segments=[]))
                measured[name].answers.append(lean)
    return list(measured.values())


def compare(
    picture: Picture, measured: Mapping[str, Measured], answers: Mapping[str, Answer], encoder: Encoder
) -> None:
    """Adds to every side's agreement with its reference."""
    found = {name: answer.report.segments for name, answer in answers.items()}
    choices = {name: chosen(picture.image, each, encoder, picture.prompts) for name, each in found.items()}
    for name, one in measured.items():
        against = one.side.against
        one.agreement.masks += nearest(found[against], found[name])
        pairs = zip(choices[against], choices[name], strict=True)
        one.agreement.prompts += [same_choice(a, b) for a, b in pairs]


def show(measured: Sequence[Measured], case: Case) -> None:
    """The figures as tables of Markdown."""
    print(markdown(TIMES, map(times, measured)))
    if case.trained:
        print(markdown(AGREEMENTS, map(agreement, measured)))
    if case.device == "cpu":  # elsewhere a stage ends before its work is done
        print(markdown(("median seconds", *STAGES, "rest"), map(stages, measured)))
    else:
        columns = "", "pictures/s", "points a batch", "GPU memory, GiB"
        print(markdown(columns, map(on_device, measured)))


TIMES = (
    "",
    "seconds a picture: median (least to most)",
    "runs",
    "faster",
    "beyond the encoder / encoder",
    "memory before, MiB",
    "most, MiB",
    "of the reference's",
    "most less before, of the reference's",
    "points asked",
    "masks that passed",
)
STAGES = ("encoder", "decoder", "masks", "enlarging", "filter", "filter and codes", "duplicates")
AGREEMENTS = (
    "",
    "reference's masks there at IoU >= .9",
    "identical",
    "same choice at IoU >= .9",
    "identical",
)


def times(one: Measured) -> tuple[str, ...]:
    timing, against = one.timing, one.reference
    encoder, points = one.stage("encoder"), one.count("points")
    return (
        one.side.name,
        f"{timing.median:.3f} ({min(timing.seconds):.3f} to {max(timing.seconds):.3f})",
        str(len(timing.seconds)),
        f"{against.timing.median / timing.median:.2f} x",
        f"{timing.median / encoder - 1:.2f}" if encoder else "-",
        f"{one.resident / 2**20:.0f}",
        f"{one.peak / 2**20:.0f}",
        f"{one.peak / against.peak:.2f}",
        f"{(one.peak - one.resident) / (against.peak - against.resident):.2f}",
        f"{points:.0f}",
        f"{one.count('passed') / points / MASKS:.1%}",
    )


def stages(one: Measured) -> tuple[str, ...]:
    spent = [one.stage(name) for name in STAGES]
    return one.side.name, *(f"{seconds:.3f}" if seconds else "-" for seconds in spent), f"{one.rest:.3f}"


def agreement(one: Measured) -> tuple[str, ...]:
    agreed = one.agreement
    figures = agreed.contained, agreed.identical, agreed.choices, agreed.identical_choices
    return one.side.name, *(share(figure) for figure in figures)


def on_device(one: Measured) -> tuple[str, ...]:
    peak = max(answer.report.device_peak for answer in one.answers)
    return (
        one.side.name,
        f"{1 / one.timing.median:.2f}",
        f"{one.count('batch'):.0f}",
        f"{peak / 2**30:.2f}",
    )


def passing(options: ProposeOptions, sampled: Sample) -> ProposeOptions:
    """The options with thresholds that PASSING of the sample's masks pass."""
    ious = sampled.predicted_iou.flatten().numpy()
    stabilities = np.array([found.stability if found else 0.0 for found in sampled.found])
    level = 1 - PASSING**0.5
    iou = float(np.quantile(ious, level))
    stability = float(np.quantile(stabilities[ious > iou], level))
    return replace(options, pred_iou_thresh=iou, stability_thresh=stability)


def scenes(count: int) -> list[Picture]:
    """Drawn scenes with the captions of their critters."""
    drawn = (make_scene(FIRST_SCENE + number) for number in range(count))
    return [Picture(scene.image, tuple(critter.caption for critter in scene.critters)) for scene in drawn]


def pictures_of(arguments: argparse.Namespace) -> list[Picture]:
    """Those of a folder, drawn scenes, or for a SAM of other weights drawn scenes of 1,024 x 768."""
    if arguments.pictures:
        paths = sorted(path for path in arguments.pictures.glob("*") if path.is_file())
        if not paths:
            raise UsageError(f"{arguments.pictures} is no folder of pictures; name one")
        return [Picture(load_image(path)) for path in paths]
    if arguments.sam == "tiny":
        return scenes(arguments.scenes or 100)
    large = (make_scene(FIRST_SCENE + number, size=1024) for number in range(arguments.scenes or 1))
    return [Picture(np.ascontiguousarray(scene.image[:768])) for scene in large]


def case_of(arguments: argparse.Namespace) -> Case:
    """What is asked of whom."""
    random = arguments.sam in sam_model_registry
    options = propose_options(arguments.sam)
    per_side = arguments.points_per_side or (32 if random else options.points_per_side)
    pictures = pictures_of(arguments)
    sam, image = load(arguments.sam), pictures[0].image
    sampled = sample(sam, image, SAMPLE)
    print(against_library(sam, image, sampled))
    options = passing(options, sampled) if random else options
    return Case(arguments.sam, arguments.device, options.but(per_side), pictures, trained=not random)


def heats_of(arguments: argparse.Namespace) -> list[tuple[Side, ...]]:
    """Who competes with whom, the reference first."""
    if arguments.device != "cpu":
        if arguments.tricks:
            raise UsageError("the tricks are measured on a CPU; leave out --tricks or --device")
        return [_large(resolve(arguments.device).precision)]
    if arguments.tricks:
        return [(REFERENCE, *TRICKS[start : start + HEAT]) for start in range(0, len(TRICKS), HEAT)]
    if arguments.sam == "tiny":
        return [PAIRS]
    return [_large(resolve_for_sam(arguments.sam, "cpu").precision)]


def _large(precision: str) -> tuple[Side, ...]:
    """Without what half precision alone brings, if this machine has none."""
    faster = Side(f"reference, {precision} autocast", reference_in_float, precision=precision)
    return (REFERENCE, *((faster, *_ours(precision)) if precision != "fp32" else (EXHAUSTIVE, ADAPTIVE)))


def _ours(precision: str) -> Iterator[Side]:
    yield EXHAUSTIVE
    for side in (EXHAUSTIVE, AS_MANY_POINTS, ADAPTIVE):
        yield replace(side, name=f"{side.name}, {precision}", precision=precision)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sam",
        default="tiny",
        help="tiny; vit_b, vit_l or vit_h with random weights; the path of a checkpoint",
    )
    parser.add_argument("--pictures", type=Path, help="a folder of pictures in place of drawn scenes")
    parser.add_argument("--scenes", type=int, help="how many to draw: 100, or 1 of 1,024 x 768")
    parser.add_argument("--points-per-side", type=int, help="16, or 32 for random weights")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--tricks", action="store_true", help="a row for every trick")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps"))
    return parser.parse_args(words)


def compete(arguments: argparse.Namespace) -> None:
    """Runs it all and prints."""
    print(machine("slip-segment", "segment-anything", "torch", "numpy"), flush=True)
    case = case_of(arguments)
    shape, options = case.pictures[0].image.shape, case.options
    weights = "" if case.trained else ", random weights"
    print(f"SAM {case.sam}{weights}; {len(case.pictures)} pictures, the first {shape[1]} x {shape[0]}")
    print(
        f"{options.points_per_side} points a side; thresholds: predicted IoU {options.pred_iou_thresh:.4g}, "
        f"stability {options.stability_thresh:.4g}",
        flush=True,
    )
    measured: list[Measured] = []
    for heat in heats_of(arguments):
        raced = race(case, heat, arguments.repeats)
        measured += raced[1:] if measured else raced
    show(measured, case)
    if case.pictures[0].prompts and not arguments.tricks:
        print(by_points(case.pictures[:PROMPTED]))
        print(f"\n{second_prompt(case.pictures[:PROMPTED])}")


def main() -> None:
    arguments = parse()
    start = perf_counter()
    try:
        compete(arguments)
    except SlipError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"\n{perf_counter() - start:.0f} s in all, on {arguments.device}")


if __name__ == "__main__":
    main()
