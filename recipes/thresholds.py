"""Which thresholds suit the tiny SAM, on scenes that neither training nor evaluation sees.

    python -m recipes.thresholds

Each scene is searched once with thresholds low enough to keep nearly everything; a row keeps what
passes its two thresholds and measures recall of objects and the segment chosen by caption.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from recipes.evaluate import Remembered, best_iou
from slip.data.critters import Scene, make_scene
from slip.device import resolve
from slip.models import load_encoder, load_proposer
from slip.options import OWN_PROPOSE
from slip.pipeline.propose import propose_segments
from slip.pipeline.slip import Slip
from slip.types import Encoder, Segment

FIRST_SEED = 800_000
PRED_IOU = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
STABILITY = (0.1, 0.3, 0.5, 0.7)


def row(
    searched: list[tuple[Scene, list[Segment]]], encoder: Encoder, pred_iou: float, stability: float
) -> list[str]:
    """The figures of one pair of thresholds, ready to print."""
    recalled, chosen, counts = [], [], []
    for scene, found in searched:
        kept = [s for s in found if (s.predicted_iou or 0) > pred_iou and (s.stability or 0) >= stability]
        counts.append(len(kept))
        recalled += [best_iou(kept, scene.mask(thing)) for thing in scene.things]
        slip = Slip(Remembered(kept), encoder)
        proposals = slip.propose(scene.image)
        for critter in scene.critters:
            best = slip.rank(proposals, critter.caption).segments[:1]
            chosen.append(best_iou(best, scene.mask(critter)))
    shares = [np.mean(np.array(recalled) >= 0.5), np.mean(np.array(recalled) >= 0.75)]
    shares += [np.mean(np.array(chosen) >= 0.5)]
    return [str(pred_iou), str(stability), *(f"{share:.1%}" for share in shares), f"{np.mean(counts):.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=40)
    count = parser.parse_args().scenes
    compute = resolve("cpu")
    lenient = OWN_PROPOSE["tiny"].but(pred_iou_thresh=min(PRED_IOU), stability_thresh=min(STABILITY))
    proposer, encoder = load_proposer("tiny", lenient, compute), load_encoder("tiny", None, compute)
    searched = []
    for number in track(range(count), "scenes"):
        scene = make_scene(FIRST_SEED + number)
        searched.append((scene, list(propose_segments(proposer, scene.image))))
    table = Table("predicted IoU", "stability", "recall .5", "recall .75", "chosen .5", "segments")
    for pred_iou, stability in product(PRED_IOU, STABILITY):
        table.add_row(*row(searched, encoder, pred_iou, stability))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
