"""How long the command takes to start, whole processes, and where the time goes.

python -m benchmarks.startup

Processes run in turn, round after round, so that a busy moment of the machine meets all of them.
After the first round, which does not count, their files are in the page cache and their byte code
is written. The search is that of ``slip segment --preset tiny`` on a picture of examples/, as it is, and
without what makes it start and end sooner (slip/cli/process.py). Its stages are timed in a process that
does the same in the same order; the ends of that process are timed from outside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, time

from benchmarks.timing import Timing, machine

ROUNDS = 15
USUAL = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""The environment; without its byte code Python would compile the package at every start."""
PICTURE = Path(__file__).parent.parent / "examples" / "meadow.png"
PROMPT = "a white striped quadruped"
SLIP = str(Path(sysconfig.get_path("scripts"), "slip"))
LIGHT = {
    "bare Python": [sys.executable, "-c", "pass"],
    "import typer": [sys.executable, "-c", "import typer"],
    "slip --version": [SLIP, "--version"],
    "slip --help": [SLIP, "--help"],
}
ORDINARY_EXIT = "import sys; from slip.cli.app import run; sys.exit(run())"
COLLECTOR_ON = f"""
from contextlib import nullcontext
from slip.cli import search, segment
search.without_collector = segment.without_collector = nullcontext
{ORDINARY_EXIT}
"""
STAGES = """
from time import time
stages = [("start Python", time())]
def stage(name):
    stages.append((name, time()))
import json, sys
from slip.cli.app import QuickEnd
end = QuickEnd()
stage("import the command line")
from slip.images import encode_png, load_image
from slip.cli.process import without_collector
from slip.drawing import mask_picture
from slip.pipeline.slip import Slip
picture = load_image(sys.argv[1])
stage("read the picture")
with without_collector():
    import torch
    stage("import torch")
    import torchvision
    stage("import torchvision")
    import segment_anything
    stage("import segment_anything")
    import open_clip
    stage("import open_clip")
    from slip.models import clip
    from slip.models.sam import proposer, reference
    stage("import slip's models")
    slip = Slip.load("tiny")
stage("load weights")
proposals = slip.propose(picture)
stage("propose")
mask = encode_png(mask_picture(slip.rank(proposals, sys.argv[2]).best))
stage("rank")
print(json.dumps(stages))
end.exit(0)
"""


def main() -> None:
    print(machine("slip-segment", "typer", "torch", "open_clip_torch"))
    commands = dict(LIGHT)
    with TemporaryDirectory() as folder:
        mask = str(Path(folder, "mask.png"))
        search = ["segment", str(PICTURE), PROMPT, "--preset", "tiny", "-o", mask, "--overwrite"]
        search.append("--no-cache")
        commands["slip segment, cold"] = [SLIP, *search]
        commands["with an ordinary exit"] = [sys.executable, "-c", ORDINARY_EXIT, *search]
        commands["and the collector on"] = [sys.executable, "-c", COLLECTOR_ON, *search]
        show(race(commands), "import typer")
    print(f"\nwhere it goes, on {PICTURE.name}:")
    show(stages(), "import torch")


def race(commands: Mapping[str, Sequence[str]]) -> dict[str, Timing]:
    """Seconds of each command, in rounds."""
    rounds = [{name: seconds(command) for name, command in commands.items()} for _ in range(ROUNDS + 1)]
    return transposed(rounds[1:])


def seconds(command: Sequence[str], **env: str) -> float:
    """Of a process from its start to its end; exit code 1, nothing found, is an end too."""
    start = perf_counter()
    code = subprocess.run(command, env={**USUAL, **env}, capture_output=True, check=False).returncode
    spent = perf_counter() - start
    if code not in (0, 1):
        raise RuntimeError(f"{command} ended with exit code {code}")
    return spent


def stages() -> dict[str, Timing]:
    """Seconds of each stage of a search, each round in a process of its own."""
    return transposed([stages_once() for _ in range(ROUNDS + 1)][1:])


def stages_once() -> dict[str, float]:
    """From the start of the process to its end; what a stage took is up to when it was over."""
    command = [sys.executable, "-W", "ignore", "-c", STAGES, str(PICTURE), PROMPT]
    last = time()
    told = json.loads(subprocess.check_output(command, env=USUAL))
    spent = {}
    for name, over in [*told, ("exit", time())]:
        spent[name], last = over - last, over
    return spent


def transposed(rounds: Sequence[Mapping[str, float]]) -> dict[str, Timing]:
    return {name: Timing(tuple(each[name] for each in rounds)) for name in rounds[0]}


def show(timings: Mapping[str, Timing], unit: str) -> None:
    """A line each, with its ratio to the median of ``unit``."""
    for name, timing in timings.items():
        print(f"{name:24}{timing.median / timings[unit].median:6.2f} x   {timing}")


if __name__ == "__main__":
    main()
