"""The commands that search, on networks with random weights."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from cli.runner import COMMAND, run, run_python
from cli.tiny_models import save_models

from slip.masks import decode_rle

EVERY_SEGMENT = [
    "--pred-iou-thresh",
    "0",
    "--stability-thresh",
    "0",
    "--points-per-side",
    "4",
    "--overlap",
    "none",
]
SIZE = (120, 90)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    picture = PIL.Image.new("RGB", SIZE, "white")
    picture.paste("red", (20, 20, 60, 70))
    picture.save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


def test_every_result(scene: Path, models: list[str]) -> None:
    asked = ["--overlay", "--cutout", "--all-segments", "--top-k", "2"]
    done = run("segment", "scene.png", "a red box", *asked, *models, *EVERY_SEGMENT, cwd=scene.parent)
    assert done.code == 0, done.stderr
    assert done.lines[0] == "scene.mask.png"
    assert {line for line in done.lines if not (scene.parent / line).is_file()} == set()
    assert done.stderr.startswith("slip: 'a red box': score ")
    assert done.stderr.count("\n") == 1

    report = json.loads((scene.parent / "scene.json").read_text())
    mask = np.asarray(PIL.Image.open(scene.parent / "scene.mask.png"))
    index = np.asarray(PIL.Image.open(scene.parent / "scene.segments.png"))
    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(mask == 255, decode_rle(report["rle"]))
    assert index.max() == 1 + len(report["runners_up"])
    assert report["options"]["points_per_side"] == 4
    for kind, mode in (("mask", "L"), ("overlay", "RGB"), ("cutout", "RGBA")):
        with PIL.Image.open(scene.parent / f"scene.{kind}.png") as picture:
            assert (picture.mode, picture.size) == (mode, SIZE)


def test_from_pipe_to_pipe(scene: Path, models: list[str]) -> None:
    done = run(
        "segment",
        "-",
        "a red box",
        "-o",
        "-",
        *models,
        *EVERY_SEGMENT,
        cwd=scene.parent,
        stdin=scene.read_bytes(),
    )
    assert done.code == 0, done.stderr
    assert PIL.Image.open(io.BytesIO(done.stdout)).size == SIZE
    assert [path.name for path in scene.parent.iterdir()] == ["scene.png"]


def test_nothing_found(scene: Path, models: list[str]) -> None:
    done = run("segment", "scene.png", "x", "--json", *models, "--pred-iou-thresh", "1", cwd=scene.parent)
    assert (done.code, done.lines) == (1, ["scene.json"])
    assert done.stderr.startswith("slip: nothing found for 'x'")
    assert json.loads((scene.parent / "scene.json").read_text())["found"] is False
    assert not (scene.parent / "scene.mask.png").exists()


def test_masks_need_no_clip(scene: Path, models: list[str]) -> None:
    arguments = ["slip", "masks", "scene.png", *models[:2], *EVERY_SEGMENT]
    code = f"""
import sys
sys.argv = {arguments!r}
from slip.cli.app import main
try:
    main()
finally:
    print("open_clip" in sys.modules, file=sys.stderr)
"""
    done = run_python(code, cwd=scene.parent)
    assert (done.code, done.lines) == (0, ["scene.segments.png", "scene.segments.json"])
    assert done.stderr.splitlines()[-1] == "False"
    report = json.loads((scene.parent / "scene.segments.json").read_text())
    index = np.asarray(PIL.Image.open(scene.parent / "scene.segments.png"))
    assert index.shape == tuple(report["image_size"]) == SIZE[::-1]
    assert index.max() == len(report["segments"])
    assert [int(decode_rle(told["rle"]).sum()) == told["area"] for told in report["segments"]].count(
        False
    ) == 0


def test_an_empty_prompt_is_a_usage_error(scene: Path, models: list[str]) -> None:
    done = run("segment", "scene.png", " ", *models, cwd=scene.parent)
    assert (done.code, done.stdout) == (2, b"")
    assert done.stderr.startswith("slip: error: the prompt is empty")


def test_a_long_prompt_is_a_note(scene: Path, models: list[str]) -> None:
    done = run("segment", "scene.png", "red " * 50, *models, *EVERY_SEGMENT, cwd=scene.parent)
    note, last = done.stderr.splitlines()
    assert done.code == 0
    assert note.startswith("slip: note: ")
    assert "score" in last


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_interrupted(scene: Path, models: list[str]) -> None:
    command = [str(COMMAND), "segment", "scene.png", "x", *models, "--points-per-side", "200"]
    with subprocess.Popen(command, cwd=scene.parent, stdout=-1, stderr=-1) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, b"", b"slip: interrupted\n")
    assert [path.name for path in scene.parent.iterdir()] == ["scene.png"]


@pytest.mark.skipif(os.name != "posix", reason="pipes that break with EPIPE")
def test_nobody_reads(scene: Path, models: list[str]) -> None:
    command = [str(COMMAND), "segment", "scene.png", "x", "-o", "-", *models, *EVERY_SEGMENT]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, cwd=scene.parent, stdout=writer, stderr=-1, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
