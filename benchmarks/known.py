"""What a new prompt costs on a picture that was searched before, with the cache of ``slip segment``.

    python -m benchmarks.known [--models tiny|base]

New processes run in turn, round after round, so that a busy moment of the machine meets all of them; the
first round does not count, and its search fills the cache. The measure is a process that imports torch and
open_clip and does nothing else: as Python does it, and as the command does it (slip/cli/process.py: no search
for garbage meanwhile, no tidying up at the end). No prompt is asked twice, but for those said to be known.
``base`` is the published architectures with random weights (benchmarks/base.py): their masks mean nothing, so
8 x 8 points are asked and the thresholds are off.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.base import save_random_weights
from benchmarks.startup import PICTURE, SLIP, seconds, show, transposed
from benchmarks.timing import Timing, machine, measure
from slip.options import ProposeOptions
from slip.pipeline.slip import Slip

ROUNDS = 9
PROMPTS = 20
"""Asked in one process."""
IMPORTS = "import torch, open_clip"
AS_SLIP = f"import gc; gc.disable(); import os; {IMPORTS}; os._exit(0)"
MEASURE = "import both"
RANK = "slip.rank"

Load = Callable[[], Slip]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", choices=("tiny", "base"), default="tiny")
    models = parser.parse_args().models
    print(machine("slip-segment", "torch", "torchvision", "open_clip_torch"))
    with TemporaryDirectory() as folder:
        os.environ["SLIP_HOME"] = str(Path(folder, "home"))
        flags, load = tiny() if models == "tiny" else base(Path(folder))
        print(f"\nnew processes, {models} models, {PICTURE.name}:")
        show(processes([*flags, "-o", str(Path(folder, "mask.png"))]), MEASURE)
        print("\none process:")
        show(one_process(load), RANK)


def tiny() -> tuple[list[str], Load]:
    """The built-in models: options of the command, and how they are loaded."""
    return ["--preset", "tiny"], partial(Slip.load, "tiny", cache=True)


def base(folder: Path) -> tuple[list[str], Load]:
    """Models of the published architectures: options of the command, and how they are loaded."""
    sam, clip = map(str, save_random_weights(folder))
    flags = ["--preset", "base", "--sam", sam, "--clip-weights", clip, "--points-per-side", "8"]
    flags += ["--pred-iou-thresh", "0", "--stability-thresh", "0"]
    options = ProposeOptions(points_per_side=8, pred_iou_thresh=0, stability_thresh=0)
    return flags, partial(Slip.load, "base", sam=sam, clip_weights=clip, options=options, cache=True)


def processes(flags: Sequence[str]) -> dict[str, Timing]:
    """Seconds of each kind of process, in rounds."""
    search = [SLIP, "segment", str(PICTURE), *flags, "--overwrite", "--prompt"]
    rounds = []
    for number in range(ROUNDS + 1):
        commands = {
            MEASURE: [sys.executable, "-c", IMPORTS],
            "as the command does": [sys.executable, "-c", AS_SLIP],
            "new prompt": [*search, f"bird {number}"],
            "known prompt": [*search, "bird 0"],
            "without the cache": [*search, f"bird {number}", "--no-cache"],
        }
        home = os.environ["SLIP_HOME"]
        rounds.append({name: seconds(command, SLIP_HOME=home) for name, command in commands.items()})
    return transposed(rounds[1:])


def one_process(load: Load) -> dict[str, Timing]:
    """Seconds of new prompts, on the picture of ``processes``, where torch and open_clip are imported."""
    prompts = (f"fish {number}" for number in count())
    slip = load()
    proposals = slip.propose(PICTURE)
    return {
        RANK: measure(lambda: slip.rank(proposals, next(prompts)), PROMPTS),
        "slip.segment": measure(lambda: slip.segment(PICTURE, next(prompts)), PROMPTS),
        "Slip.load, slip.segment": measure(lambda: load().segment(PICTURE, next(prompts)), ROUNDS),
        "the same, known prompt": measure(lambda: load().segment(PICTURE, "bird 0"), ROUNDS),
    }


if __name__ == "__main__":
    main()
