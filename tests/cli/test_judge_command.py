"""``slip judge``: what it writes and says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from cli.lessons import COLOURS, JUDGE, teach
from cli.runner import CAN_FORK

from slip.device import Compute
from slip.models import load_classifier
from slip.models.header import read_training

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="the commands are forked")


def test_a_judge(taught: Path, tmp_path: Path) -> None:
    (tmp_path / "shapes").symlink_to(taught / "shapes")
    done = teach(*JUDGE, "-o", "judge.safetensors", cwd=tmp_path)
    assert done.lines == ["judge.safetensors", "judge.run"]
    last = done.stderr.splitlines()[-1]
    run = tmp_path / "judge.run"
    assert {path.name for path in run.iterdir()} == {
        *("run.json", "checkpoint.pt", "metrics.jsonl", "split.csv", "curves.png"),
        *("confusion.png", "confusion.json"),
    }

    told = json.loads((run / "confusion.json").read_text())
    matrix = np.array(told["matrix"])
    assert told["classes"] == list(COLOURS)
    assert (matrix.sum(axis=1) == 2).all()
    assert (told["trials"], told["right"]) == (6, np.trace(matrix))
    assert f"accuracy {100 * told['right'] / 6:.1f} % (" in last and ") of 6 held-out pictures" in last
    assert sum(pair["times"] for pair in told["confused"]) == 6 - told["right"]
    for pair in told["confused"]:
        said = f"{pair['true']} as {pair['judged']} {pair['times']} of {pair['trials']}"
        assert said in done.stderr
    with PIL.Image.open(run / "confusion.png") as picture:
        assert min(picture.size) > 200

    training = read_training(tmp_path / "judge.safetensors")
    assert training is not None
    assert training["classes"] == list(COLOURS) and training["data"] == "shapes"
    judge = load_classifier(tmp_path / "judge.safetensors", Compute("cpu", "fp32"))
    assert (judge.classes, judge.image_size) == (COLOURS, 32)
    probabilities = judge.classify(np.zeros((2, 32, 32, 3), np.uint8))
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
