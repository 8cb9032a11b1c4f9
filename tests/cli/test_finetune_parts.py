"""``slip finetune --method``: networks of parts, as a user trains them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from cli.lessons import at_step, die, heed, interrupt, metrics, tensors
from cli.runner import CAN_FORK, Run, run_warm
from data.parts.sets_of_parts import save_set
from models.small_cris import save_cris

PICTURES = 15
COMMAND = ["finetune", "birds", "--method", "cris", "--from", "start", "-o", "parts"]
SHORT = ["--epochs", "2", "--batch", "4", "--expressions", "2", "--workers", "0", "--rate", "1e-3"]


def in_folder(folder: Path) -> Path:
    save_set(folder / "birds", PICTURES)
    save_cris(folder / "start.safetensors", {"data": "eggs"})
    return folder


def train(folder: Path, *options: str, prepare: Callable[[], object] = bool) -> Run:
    return run_warm(*COMMAND, *SHORT, *options, cwd=folder, prepare=prepare)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    folder = in_folder(tmp_path_factory.mktemp("unbroken"))
    done = train(folder)
    assert done.code == 0, done.stderr
    return folder, done


def test_what_it_says_and_leaves(unbroken: tuple[Path, Run]) -> None:
    folder, done = unbroken
    assert done.lines == ["parts.safetensors", "parts.run"]
    assert "slip: birds: " in done.stderr and "2 parts" in done.stderr
    assert "validation IoU at the network's size 0." in done.stderr and "best in epoch" in done.stderr
    left = {path.name for path in (folder / "parts.run").iterdir()}
    assert left == {"run.json", "metrics.jsonl", "checkpoint.pt", "split.csv", "curves.png"}
    epochs = [record for record in metrics(folder / "parts.run") if "train_loss" in record]
    assert len(epochs) == 2
    assert all({"validation_loss", "validation_iou", "validation_precision"} <= set(one) for one in epochs)
    note = json.loads((folder / "parts.run" / "run.json").read_text())
    assert (note["method"], note["parts"]) == ("cris", ["bird head", "bird wing"])
    assert note["before"] == {"data": "eggs"}


def press_ctrl_c() -> None:
    heed()
    interrupt()


@pytest.mark.skipif(not CAN_FORK, reason="POSIX signals")
@pytest.mark.parametrize(("moment", "code"), [(die, -9), (press_ctrl_c, 130)], ids=["killed", "interrupted"])
def test_it_goes_on_to_the_same_bits(
    unbroken: tuple[Path, Run], tmp_path: Path, moment: Callable[[], None], code: int
) -> None:
    whole, folder = unbroken[0], in_folder(tmp_path)
    steps = len(metrics(whole / "parts.run")) // 2 - 1
    broken = train(folder, prepare=partial(at_step, steps + 1, moment))
    assert broken.code == code and not (folder / "parts.safetensors").exists()
    refused = train(folder)
    assert (refused.code, refused.stderr.count("\n")) == (2, 1) and "--resume" in refused.stderr
    other = train(folder, "--resume", "--decay", "cosine")
    assert other.code == 2 and "decay was 'step', is 'cosine'" in other.stderr
    done = train(folder, "--resume")
    assert done.code == 0, done.stderr
    assert metrics(folder / "parts.run") == metrics(whole / "parts.run")
    assert tensors(folder / "parts.safetensors") == tensors(whole / "parts.safetensors")


def test_what_was_taught_segments(unbroken: tuple[Path, Run]) -> None:
    picture = next((unbroken[0] / "birds" / "images").iterdir())
    asked = ["segment", picture, "the bird's wing", "--method", "cris", "--weights", "parts", "-o", "a.png"]
    done = run_warm(*asked, "--json", cwd=unbroken[0])
    told = json.loads((unbroken[0] / "a.json").read_text())
    assert done.code == (0 if told["found"] else 1), done.stderr
    assert (unbroken[0] / "a.png").exists() is told["found"]
    assert told["models"] == {"cris": "parts.safetensors"} and told["options"]["method"] == "cris"


@pytest.mark.skipif(
    not torch.distributed.is_available() or torch.cuda.is_available(), reason="gloo on the CPU"
)
def test_two_processes(tmp_path: Path) -> None:
    """Batch norms see each process's own share, which is told; the files are those of one training."""
    folder = in_folder(tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "SLIP_OFFLINE": "1"}
    command = [*launch, "-m", "slip", *COMMAND, *SHORT]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["parts.safetensors", "parts.run"]
    assert "batch normalisation sees each process's own share" in done.stderr
    assert len([one for one in metrics(folder / "parts.run") if "train_loss" in one]) == 2


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (
            ["--method", "cris", "--mix", "0.5"],
            2,
            "--mix goes with --method slip; choose that or leave it out",
        ),
        (["--method", "cris", "--recipe", "paper"], 2, "--recipe goes with --method slip"),
        (["--method", "cris", "--no-augment"], 2, "--no-augment goes with --method slip"),
        (["--image-size", "64"], 2, "--image-size goes with one of the other methods"),
        (
            ["--method", "cris", "--from", "tiny", "--image-size", "100"],
            2,
            "choose a multiple of 32, from 64",
        ),
        (["--method", "cris", "--from", "ViT-B-32", "--weights", "openai"], 4, "SLIP_OFFLINE"),
        (["--method", "cris", "--from", "nowhere"], 2, "'nowhere' is neither an architecture"),
        (["--method", "unet"], 2, "is not one of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_misuse(unbroken: tuple[Path, Run], options: list[str], code: int, told: str) -> None:
    done = run_warm("finetune", "birds", "-o", "other", *SHORT[:2], *options, cwd=unbroken[0])
    assert done.code == code and told in done.stderr, done.stderr
    assert done.stdout == b"" and not (unbroken[0] / "other.safetensors").exists()


def test_what_is_no_set_of_parts(unbroken: tuple[Path, Run]) -> None:
    for name, told in (("critters", "is no set of parts"), ("missing", "does not exist")):
        done = run_warm("finetune", name, "--method", "cris", "--from", "tiny", "-o", "x", cwd=unbroken[0])
        assert (done.code, done.stderr.count("\n")) == (2, 1), done.stderr
        assert f"{name!r} {told}" in done.stderr or "does not exist" in done.stderr
