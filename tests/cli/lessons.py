"""Data sets that are learnt in a second, and the commands that do it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
from cli.runner import Run, run_warm

COLOURS = ("blue", "green", "red")
EPOCHS, STEPS = 3, 3
"""How many epochs the commands below take, and batches an epoch: 18 pictures, 6 a batch."""

FINETUNE = ["finetune", "shapes", "--epochs", str(EPOCHS), "--batch", "6", "--workers", "0"]
JUDGE = [
    *("judge", "shapes", "--recipe", "own", "--image-size", "32", "--rate", "0.01"),
    *("--epochs", "2", "--batch", "6", "--workers", "0"),
]


def draw_shapes(folder: Path, each: int = 8) -> None:
    """Class folders of ellipses of one colour on grounds of many."""
    rng = np.random.default_rng(3)
    for colour in COLOURS:
        (folder / colour).mkdir(parents=True)
        for index in range(each):
            ground = rng.integers(0, 256, (3, 3, 3), np.uint8)
            picture = PIL.Image.fromarray(ground).resize((48, 48), PIL.Image.Resampling.BILINEAR)
            x, y, width, height = rng.integers((2, 2, 18, 18), (18, 18, 28, 28)).tolist()
            PIL.ImageDraw.Draw(picture).ellipse((x, y, x + width, y + height), fill=colour)
            picture.save(folder / colour / f"{index}.png")


def teach(*arguments: str | Path, cwd: Path, **options: Any) -> Run:
    """Run a command that must succeed."""
    done = run_warm(*arguments, cwd=cwd, **options)
    assert done.code == 0, done.stderr
    return done


def metrics(run: Path) -> list[dict[str, float]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def tensors(path: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return {name: tensor.tobytes() for name, tensor in load_file(path).items()}


def at_step(step: int, act: Callable[[], None]) -> None:
    """Let the command about to run ``act`` when it has logged ``step``."""
    from slip.training.run import Run as Training

    log = Training.log

    def logged(self: Training, record: dict[str, Any]) -> None:
        log(self, record)
        if record["step"] == step and "train_loss" not in record:
            act()

    Training.log = logged


def at_save(number: int, act: Callable[[], None]) -> None:
    """Let the command about to run ``act`` when its checkpoint of that number is about to get its name."""
    from pathlib import Path as Paths

    replace, seen = Paths.replace, []

    def replaced(self: Path, target: Path) -> Path:
        if Paths(target).name == "checkpoint.pt":
            seen.append(target)
            if len(seen) == number:
                act()
        return replace(self, target)

    Paths.replace = replaced


def die() -> None:
    """At once, as the machine's owner or a scheduler does it."""
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> None:
    """As Ctrl-C does; the tests may themselves run where SIGINT is ignored."""
    os.kill(os.getpid(), signal.SIGINT)


def heed() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
