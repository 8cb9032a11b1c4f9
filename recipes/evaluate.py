"""What the built-in weights can do, on critters of seeds they never saw.

    python -m recipes.evaluate                                    prints the whole table
    python -m recipes.evaluate --pictures IMAGES --masks MASKS    the same SAM on real pictures

The scenes hold four critters of the 151 species and two things each; training saw made-up
species of other seeds. Every share comes with its trials and Wilson's 95 % interval, every mean
with a bootstrap interval over its values.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from segment_anything import SamPredictor

from slip.data.critters import Scene, make_scene
from slip.device import resolve
from slip.evaluation.intervals import bootstrap_mean, wilson
from slip.images import load_image
from slip.masks import mask_iou, segment_iou, segment_of
from slip.models import load_encoder, load_proposer, scoring_of
from slip.models.sam import load_sam
from slip.options import Overlap, View, propose_options
from slip.pipeline.propose import propose_segments
from slip.pipeline.slip import Slip
from slip.types import Image, Mask, Progress, Segment

FIRST_SEED = 900_000
THRESHOLDS = (0.5, 0.75, 0.9)
OPTIONS = propose_options("tiny")


@dataclass
class Measured:
    """What one figure is made of: a value a trial."""

    name: str
    values: list[float] = field(default_factory=list)

    def mean(self) -> str:
        """The mean with its interval."""
        low, high = bootstrap_mean(self.values)
        return f"{np.mean(self.values):.3f} ({low:.3f} to {high:.3f})"

    def share_above(self, threshold: float) -> str:
        """The share of values at or above a threshold with its interval."""
        hits = sum(value >= threshold for value in self.values)
        low, high = wilson(hits, len(self.values))
        return f"{hits / len(self.values):.1%} ({low:.1%} to {high:.1%})"


class Remembered:
    """A proposer that gives what was found before, so that filters and views share one search."""

    name = "remembered"
    image_size = 1 << 16

    def __init__(self, segments: list[Segment]) -> None:
        self.segments = segments

    def propose(self, image: Image, progress: Progress | None = None) -> list[Segment]:
        return self.segments


def scenes(count: int) -> Iterator[Scene]:
    """Held-out scenes of four critters and two things."""
    return (make_scene(FIRST_SEED + number) for number in track(range(count), "scenes"))


def one_point(count: int) -> list[Measured]:
    """IoU of the best of the three masks from one random point, for objects and for parts."""
    predictor = SamPredictor(load_sam("tiny"))
    objects, parts = Measured("objects, one point"), Measured("parts, one point")
    rng = np.random.default_rng(0)
    for scene in scenes(count):
        predictor.set_image(scene.image)
        for thing in scene.things:
            objects.values.append(_oracle(predictor, scene.mask(thing), rng))
            parts.values += [_oracle(predictor, mask, rng) for mask in scene.part_masks(thing).values()]
    return [objects, parts]


def _oracle(predictor: SamPredictor, mask: Mask, rng: np.random.Generator) -> float:
    flat = np.flatnonzero(mask)
    y, x = divmod(int(rng.choice(flat)), mask.shape[1])
    masks, _, _ = predictor.predict(np.array([[x + 0.5, y + 0.5]]), np.array([1]))
    return max(mask_iou(candidate, mask) for candidate in masks)


def pipeline(count: int) -> tuple[list[Measured], dict[tuple[Overlap, View], Measured]]:
    """Best proposal for every object and part, and IoU of the segment chosen for every caption."""
    compute = resolve("cpu")
    proposer, encoder = load_proposer("tiny", OPTIONS, compute), load_encoder("tiny", None, compute)
    recall = [Measured("critters"), Measured("things"), Measured("parts"), Measured("segments a scene")]
    chosen = {
        (overlap, view): Measured(f"{overlap}, {view}")
        for overlap in get_args(Overlap)
        for view in get_args(View)
    }
    for scene in scenes(count):
        found = list(propose_segments(proposer, scene.image))
        recall[3].values.append(len(found))
        for thing in scene.things:
            recall[0 if thing.species else 1].values.append(best_iou(found, scene.mask(thing)))
            recall[2].values += [best_iou(found, mask) for mask in scene.part_masks(thing).values()]
        for (overlap, view), measured in chosen.items():
            how: dict[str, Any] = {"overlap": overlap, "view": view, "scoring": scoring_of("tiny")}
            slip = Slip(Remembered(found), encoder, **how)
            measured.values += _chosen(slip, scene)
    return recall, chosen


def _chosen(slip: Slip, scene: Scene) -> Iterator[float]:
    proposals = slip.propose(scene.image)
    for critter in scene.critters:
        prediction = slip.rank(proposals, critter.caption)
        yield best_iou(prediction.segments[:1], scene.mask(critter))


def best_iou(segments: Sequence[Segment], mask: Mask) -> float:
    """IoU of the segment nearest to a mask; 0 where there is none."""
    truth = segment_of(mask)
    return max((segment_iou(segment, truth) for segment in segments), default=0.0) if truth else 0.0


def real_pictures(pictures: Path, masks: Path) -> Measured:
    """Best proposal for the object of each picture that has a mask of the same name."""
    proposer = load_proposer("tiny", OPTIONS, resolve("cpu"))
    measured = Measured(str(pictures.name))
    for path in track(sorted(masks.iterdir()), "pictures"):
        picture = next(pictures.glob(f"{path.stem}.*"))
        truth = load_image(path)[..., 0] > 127
        measured.values.append(best_iou(propose_segments(proposer, load_image(picture)), truth))
    return measured


def show(title: str, rows: Sequence[Measured]) -> Table:
    """A row a figure: mean, and shares above the thresholds."""
    table = Table("", "trials", "mean", *(f"IoU >= {threshold}" for threshold in THRESHOLDS), title=title)
    for row in rows:
        table.add_row(row.name, str(len(row.values)), row.mean(), *(row.share_above(t) for t in THRESHOLDS))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--json", type=Path, help="write every value here")
    arguments = parser.parse_args()
    console = Console(width=120)
    if arguments.pictures:
        rows = [real_pictures(arguments.pictures, arguments.masks)]
        console.print(show("best proposal on real pictures", rows))
    else:
        points = one_point(arguments.scenes)
        recall, chosen = pipeline(arguments.scenes)
        console.print(show("tiny SAM, best of three masks", points))
        console.print(show("automatic masks, best proposal", recall[:3]))
        console.print(f"segments a scene: {recall[3].mean()}")
        console.print(show("chosen by caption (filter, view)", list(chosen.values())))
        rows = [*points, *recall, *chosen.values()]
    if arguments.json:
        arguments.json.write_text(json.dumps({row.name: row.values for row in rows}))


if __name__ == "__main__":
    main()
