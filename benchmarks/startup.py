"""How long the command takes to start, whole processes, and where the time goes.

python -m benchmarks.startup

Processes run in turn, round after round, so that a busy moment of the machine meets all of them.
After the first round, which does not count, their files are in the page cache and their byte code
is written. The search is that of ``slip segment --preset tiny`` at default points on the first
picture of examples/.
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
from time import perf_counter

import slip
from benchmarks.timing import Timing, machine

ROUNDS = 15
USUAL = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""The environment; without its byte code Python would compile the package at every start."""
PROMPT = "a striped bird"
ROOT = Path(__file__).parent.parent
SLIP = str(Path(sysconfig.get_path("scripts"), "slip"))
LIGHT = {
    "bare Python": [sys.executable, "-c", "pass"],
    "import typer": [sys.executable, "-c", "import typer"],
    "slip --version": [SLIP, "--version"],
    "slip --help": [SLIP, "--help"],
}
STAGES = """
import json, sys
from time import perf_counter
spent, start = {}, perf_counter()
def stage(name):
    global start
    spent[name], start = perf_counter() - start, perf_counter()
import torch
stage("import torch")
import segment_anything
stage("import segment_anything")
import open_clip
stage("import open_clip")
from slip import Slip
from slip.models import clip, sam
stage("import slip")
segmenter = Slip.load("tiny")
stage("load weights")
proposals = segmenter.propose(sys.argv[1])
stage("propose")
segmenter.rank(proposals, sys.argv[2])
stage("rank")
print(json.dumps(spent))
"""


def main() -> None:
    print(machine("slip-segment", "typer", "torch", "open_clip_torch"))
    commands = dict(LIGHT)
    picture = example()
    with TemporaryDirectory() as folder:
        if picture:
            mask = str(Path(folder, "mask.png"))
            search = [SLIP, "segment", str(picture), PROMPT, "--preset", "tiny", "-o", mask, "--overwrite"]
            commands["slip segment, cold"] = search
        show(race(commands), "import typer")
    if picture:
        print(f"\nwhere it goes, on {picture.name}:")
        show(stages(picture), "import torch")
    else:
        print("no search: examples/ has no picture, or the package no built-in weights")


def example() -> Path | None:
    """A picture to search, if there is one and the built-in weights are there."""
    assets = Path(slip.__file__).parent / "assets"
    ready = all((assets / f"{kind}_tiny.safetensors").is_file() for kind in ("sam", "clip"))
    pictures = sorted(path for path in ROOT.glob("examples/*.png") if "." not in path.stem)
    return pictures[0] if ready and pictures else None


def race(commands: Mapping[str, Sequence[str]]) -> dict[str, Timing]:
    """Seconds of each command, in rounds."""
    rounds = [{name: seconds(command) for name, command in commands.items()} for _ in range(ROUNDS + 1)]
    return transposed(rounds[1:])


def seconds(command: Sequence[str]) -> float:
    """Of a process from its start to its end; exit code 1, nothing found, is an end too."""
    start = perf_counter()
    code = subprocess.run(command, env=USUAL, capture_output=True, check=False).returncode
    spent = perf_counter() - start
    if code not in (0, 1):
        raise RuntimeError(f"{command} ended with exit code {code}")
    return spent


def stages(picture: Path) -> dict[str, Timing]:
    """Seconds of each stage of a search, each round in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", STAGES, str(picture), PROMPT]
    rounds = [json.loads(subprocess.check_output(command, env=USUAL)) for _ in range(ROUNDS + 1)]
    return transposed(rounds[1:])


def transposed(rounds: Sequence[Mapping[str, float]]) -> dict[str, Timing]:
    return {name: Timing(tuple(each[name] for each in rounds)) for name in rounds[0]}


def show(timings: Mapping[str, Timing], unit: str) -> None:
    """A line each, with its ratio to the median of ``unit``."""
    for name, timing in timings.items():
        print(f"{name:24}{timing.median / timings[unit].median:6.2f} x   {timing}")


if __name__ == "__main__":
    main()
