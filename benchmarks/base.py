"""The preset ``base`` in full size on random weights: does it run, how long, how much memory.

    python -m benchmarks.base [--points-per-side N]

Random weights of the official architectures are saved in the official formats (SAM ViT-B as a
state dict, CLIP ViT-B/32 as a state dict of open_clip) and loaded as a user's files would be.
Their masks mean nothing, so thresholds are off and the segments' number is no result; time and
memory are those of the published weights at the same number of masks.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import open_clip
import torch
from segment_anything import sam_model_registry

from benchmarks.timing import machine
from slip.data.critters import make_scene
from slip.options import ProposeOptions
from slip.pipeline.slip import Slip

CLIP = "ViT-B-32"


def save_random_weights(folder: Path) -> tuple[Path, Path]:
    """Files as published, with random numbers in them."""
    torch.manual_seed(0)
    sam, clip = folder / "sam_vit_b.pth", folder / "clip.pt"
    torch.save(sam_model_registry["vit_b"]().state_dict(), sam)
    torch.save(open_clip.create_model(CLIP).state_dict(), clip)
    return sam, clip


def peak_memory() -> int:
    """Bytes; the system counts in KiB, that of a Mac in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points-per-side", type=int, default=8)
    arguments = parser.parse_args()
    options = ProposeOptions(arguments.points_per_side, pred_iou_thresh=0.0, stability_thresh=0.0)
    print(machine("slip-segment", "torch", "segment-anything", "open_clip_torch"))
    with tempfile.TemporaryDirectory() as folder:
        sam, clip = save_random_weights(Path(folder))
        start = perf_counter()
        slip = Slip.load("base", sam=str(sam), clip_weights=str(clip), options=options)
        print(f"load models {perf_counter() - start:.1f} s")
        image = make_scene(0, size=1024).image[:768]
        prediction = slip.segment(image, "a bird")
    points = options.points_per_side**2
    print(
        f"{image.shape[1]} x {image.shape[0]} px, {points} points, {len(prediction.segments)} segments kept"
    )
    print(", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in prediction.timings.items()))
    print(f"peak memory {peak_memory() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
