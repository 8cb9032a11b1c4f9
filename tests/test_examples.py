"""The scripts of examples/, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from slip.images import load_image

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_script(name: str, *args: str, cwd: Path) -> str:
    command = [sys.executable, str(EXAMPLES / name), *args]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_many_prompts_prints_a_line_a_prompt(tmp_path: Path) -> None:
    lines = run_script(
        "many_prompts.py", str(EXAMPLES / "dusk.png"), "a red striped quadruped", "a teal fish", cwd=tmp_path
    ).splitlines()
    assert "segments" in lines[0]
    assert [line.split(":")[0] for line in lines[1:]] == ["a red striped quadruped", "a teal fish"]
    assert "box" in lines[1] and "score" in lines[1]
    assert "no match" in lines[2]


def test_make_pictures_draws_the_pictures_that_are_here(tmp_path: Path) -> None:
    run_script("make_pictures.py", str(tmp_path), cwd=tmp_path)
    drawn = sorted(tmp_path.glob("*.png"))
    assert drawn
    for path in drawn:
        kept, again = load_image(EXAMPLES / path.name), load_image(path)
        assert np.abs(kept.astype(int) - again).mean() < 0.5
