"""``slip finetune --recipe paper``, alone and as a search, with a dual encoder that is small."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli.lessons import at_step, die, metrics, teach
from cli.runner import CAN_FORK, run_warm

from slip.models.header import kind_of, read_training

pytest.importorskip("transformers")
pytestmark = pytest.mark.skipif(not CAN_FORK, reason="the commands are forked")

PAPER = ["finetune", "shapes", "--recipe", "paper", "--epochs", "2", "--batch", "6", "--workers", "0"]
EVERY_SEGMENT = ["--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "2"]


def shrink() -> None:
    """The smallest encoder, and a search of two rates and one width."""
    from training.small_paper import SHAPE

    from slip.training import grid, paper

    paper.train_paper.__kwdefaults__["shape"] = SHAPE
    grid.run_grid.__kwdefaults__ |= {"shape": SHAPE, "rates": (1e-3, 1e-2), "embed_dims": (8,)}


def shrink_and_die() -> None:
    shrink()
    at_step(5, die)


@pytest.fixture
def folder(taught: Path, tmp_path: Path) -> Path:
    (tmp_path / "shapes").symlink_to(taught / "shapes")
    return tmp_path


def test_the_papers_encoder(taught: Path, folder: Path, tiny_models: list[str]) -> None:
    done = teach(*PAPER, "-o", "paper", "--embed-dim", "8", cwd=folder, prepare=shrink)
    assert done.lines == ["paper.safetensors", "paper.run"]
    assert done.stderr.splitlines()[-1].startswith("slip: validation accuracy ")
    assert kind_of(folder / "paper.safetensors") == "simple_clip"
    training = read_training(folder / "paper.safetensors")
    assert training is not None
    assert training["classes"] == ["blue", "green", "red"] and training["recipe"] == "paper"
    assert {record["epoch"] for record in metrics(folder / "paper.run")} == {1, 2}
    assert (folder / "paper.run/curves.png").is_file()

    shutil.copy(taught / "shapes/red/0.png", folder / "red.png")
    models = [*tiny_models[:2], "--clip", "paper"]
    found = run_warm("segment", "red.png", "red", *models, *EVERY_SEGMENT, cwd=folder)
    assert (found.code, found.lines) == (0, ["red.mask.png"]), found.stderr


def test_a_search_that_is_killed_goes_on(folder: Path) -> None:
    search = [*PAPER, "--grid"]
    whole = teach(*search, "-o", "whole", cwd=folder, prepare=shrink)
    assert whole.lines == ["whole.safetensors", "whole.grid"]
    table = (folder / "whole.grid/table.txt").read_text()
    assert whole.stderr.count("rate 0.001, P = 8") == whole.stderr.count("rate 0.01, P = 8") == 1
    assert "slip: searched 2 rates and widths, " in whole.stderr
    outcomes = json.loads((folder / "whole.grid/grid.json").read_text())["outcomes"]
    told = [line for line in whole.stderr.splitlines() if "published: Table 1" in line]
    assert len(told) == 2
    for outcome, line in zip(outcomes, told, strict=True):
        loss = f"{outcome['validation_loss']:.4f}"
        assert f"{outcome['rate']:g}: P = 8" in line and loss in line and loss in table

    killed = run_warm(*search, "-o", "parts", cwd=folder, prepare=shrink_and_die)
    assert killed.code == -9
    refused = run_warm(*search, "-o", "parts", cwd=folder, prepare=shrink)
    assert refused.code == 2 and "'parts.grid' exists" in refused.stderr
    teach(*search, "-o", "parts", "--resume", cwd=folder, prepare=shrink)
    assert (folder / "parts.grid/table.txt").read_text() == table
    assert (folder / "parts.safetensors").read_bytes() == (folder / "whole.safetensors").read_bytes()
