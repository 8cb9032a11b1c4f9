"""Two processes on one machine, over gloo, train as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.lessons import EPOCHS, FINETUNE, metrics
from safetensors.numpy import load_file


@pytest.mark.skipif(
    not torch.distributed.is_available() or torch.cuda.is_available(), reason="gloo on the CPU"
)
def test_the_losses_are_those_of_one_process(taught: Path, tmp_path: Path, tiny_models: list[str]) -> None:
    (tmp_path / "shapes").symlink_to(taught / "shapes")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "slip", *FINETUNE, "-o", "clip", "--from", tiny_models[3]]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "SLIP_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["clip.safetensors", "clip.run"]
    told = [line for line in done.stderr.splitlines() if line.startswith("slip: ")]
    assert len(told) == 1 + EPOCHS + 1, done.stderr
    assert told[0] == "slip: shapes: 24 pictures of 3 classes"

    alone, both = metrics(taught / "clip.run"), metrics(tmp_path / "clip.run")
    assert [record.keys() for record in both] == [record.keys() for record in alone]
    for record, other in zip(alone, both, strict=True):
        assert other == pytest.approx(record, rel=1e-4)
    whole, parts = load_file(taught / "clip.safetensors"), load_file(tmp_path / "clip.safetensors")
    assert whole.keys() == parts.keys()
    assert all(np.allclose(whole[name], parts[name], atol=2e-3) for name in whole)
