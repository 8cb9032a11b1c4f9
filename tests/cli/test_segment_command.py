"""The commands that search, on networks with random weights."""

from __future__ import annotations

import io
import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from cli.runner import run_python, run_warm
from cli.tiny_models import EVERY_SEGMENT

import slip
from slip.masks import decode_rle

SIZE = (120, 90)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    picture = PIL.Image.new("RGB", SIZE, "white")
    picture.paste("red", (20, 20, 60, 70))
    picture.save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


def test_every_result(scene: Path, tiny_models: list[str]) -> None:
    asked = ["--overlay", "--cutout", "--all-segments", "--top-k", "2"]
    wanted = ["a red box", *asked, *tiny_models, *EVERY_SEGMENT]
    done = run_warm("segment", "scene.png", *wanted, cwd=scene.parent)
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
    assert report["version"] == slip.__version__
    used = {"preset": "base", "sam": tiny_models[1], "clip": tiny_models[3], "points_per_side": 4}
    assert used.items() <= report["options"].items()
    computing = ("device", "precision", "sam_precision")
    assert {"auto", None}.isdisjoint(report["options"][name] for name in computing)
    for kind, mode in (("mask", "L"), ("overlay", "RGB"), ("cutout", "RGBA")):
        with PIL.Image.open(scene.parent / f"scene.{kind}.png") as picture:
            assert (picture.mode, picture.size) == (mode, SIZE)


def test_from_pipe_to_pipe(scene: Path, tiny_models: list[str]) -> None:
    done = run_warm(
        "segment",
        "-",
        "a red box",
        "-o",
        "-",
        *tiny_models,
        *EVERY_SEGMENT,
        cwd=scene.parent,
        stdin=scene.read_bytes(),
    )
    assert done.code == 0, done.stderr
    assert PIL.Image.open(io.BytesIO(done.stdout)).size == SIZE
    assert [path.name for path in scene.parent.iterdir()] == ["scene.png"]


@pytest.mark.parametrize("command", [["segment", "scene.png", "x", "--json"], ["masks", "scene.png"]])
@pytest.mark.parametrize(
    ("wanted", "used"),
    [
        ([], ("fast", "adaptive")),
        (["--points", "exhaustive"], ("fast", "exhaustive")),
        (["--proposer", "reference"], ("reference", "exhaustive")),
        (["--proposer", "reference", "--points", "exhaustive"], ("reference", "exhaustive")),
    ],
    ids=str,
)
def test_the_search_is_chosen_and_told(
    scene: Path, tiny_models: list[str], command: list[str], wanted: list[str], used: tuple[str, str]
) -> None:
    models = tiny_models if command[0] == "segment" else tiny_models[:2]
    prepare = partial(forbid_search_by, "fast" if used[0] == "reference" else "reference")
    done = run_warm(*command, *models, *EVERY_SEGMENT, *wanted, cwd=scene.parent, prepare=prepare)
    assert done.code == 0, done.stderr
    told = json.loads((scene.parent / done.lines[-1]).read_text())["options"]
    assert (told["proposer"], told["points"]) == used


def forbid_search_by(proposer: str) -> None:
    from slip.models.sam.proposer import SamProposer
    from slip.models.sam.reference import ReferenceProposer

    def search(*_: object) -> None:
        raise AssertionError(f"searched by {proposer}")

    (SamProposer if proposer == "fast" else ReferenceProposer).propose = search


def test_nothing_found(scene: Path, tiny_models: list[str]) -> None:
    done = run_warm(
        "segment", "scene.png", "x", "--json", *tiny_models, "--pred-iou-thresh", "1", cwd=scene.parent
    )
    assert (done.code, done.lines) == (1, ["scene.json"])
    assert done.stderr.startswith("slip: nothing found for 'x'")
    assert json.loads((scene.parent / "scene.json").read_text())["found"] is False
    assert not (scene.parent / "scene.mask.png").exists()


@pytest.mark.parametrize(
    ("command", "stale", "written"),
    [
        (
            ["segment", "scene.png", "x", "--json", "--top-k", "2"],
            ["mask.png", "mask.2.png", "mask.3.png"],
            "scene.json",
        ),
        (["masks", "scene.png"], ["segments.png"], "scene.segments.json"),
    ],
)
def test_what_an_earlier_search_found_is_not_left_behind(
    scene: Path, tiny_models: list[str], command: list[str], stale: list[str], written: str
) -> None:
    others = {"scene.mask.x.png", "scene.overlay.png"}
    for kind in (*stale, "mask.x.png", "overlay.png"):
        (scene.parent / f"scene.{kind}").write_bytes(b"of another search")
    models = tiny_models if command[0] == "segment" else tiny_models[:2]
    done = run_warm(*command, "--overwrite", *models, "--pred-iou-thresh", "1", cwd=scene.parent)
    assert (done.code, done.lines) == (1, [written]), done.stderr
    left = {path.name for path in scene.parent.iterdir()}
    assert left == {"scene.png", *others, written}


def test_a_picture_that_is_called_as_a_mask(scene: Path, tiny_models: list[str]) -> None:
    picture = scene.rename(scene.with_name("scene.mask.2.png"))
    (scene.parent / "scene.mask.png").write_bytes(b"of another search")
    wanted = ["segment", picture.name, "x", "-o", "scene.mask.png", "--overwrite", *tiny_models]
    done = run_warm(*wanted, cwd=scene.parent)
    assert done.code == 2
    assert "'scene.mask.2.png' is the picture itself; choose another -o" in done.stderr
    assert picture.exists()


def test_masks_need_no_clip(scene: Path, tiny_models: list[str]) -> None:
    arguments = ["slip", "masks", "scene.png", *tiny_models[:2], *EVERY_SEGMENT]
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


def use_as_built_in(folder: Path) -> None:
    from slip.models import header

    header.ASSETS = folder


@pytest.mark.parametrize("command", [["segment", "scene.png", "x"], ["masks", "scene.png"]], ids="-".join)
def test_the_tiny_models_say_what_they_know(
    scene: Path, tmp_path_factory: pytest.TempPathFactory, tiny_models: list[str], command: list[str]
) -> None:
    assets = tmp_path_factory.mktemp("assets")
    built_in = partial(use_as_built_in, assets)
    wanted = [*command, "--preset", "tiny", *EVERY_SEGMENT]
    missing = run_warm(*wanted, cwd=scene.parent, prepare=built_in)
    assert (missing.code, missing.stderr.count("\n")) == (4, 1)
    assert missing.stderr.endswith("sam_tiny.safetensors; install slip again\n")

    for kind, path in (("sam", tiny_models[1]), ("clip", tiny_models[3])):
        shutil.copy(path, assets / f"{kind}_tiny.safetensors")
    note, last = run_warm(*wanted, cwd=scene.parent, prepare=built_in).stderr.splitlines()
    assert note.startswith("slip: note: the built-in tiny models know drawn critters, not photographs")
    assert not last.startswith("slip: error")


def break_stdout() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)


@pytest.mark.skipif(os.name != "posix", reason="pipes that break with EPIPE")
def test_nobody_reads(scene: Path, tiny_models: list[str]) -> None:
    wanted = ["segment", "scene.png", "x", "-o", "-", *tiny_models, *EVERY_SEGMENT]
    done = run_warm(*wanted, cwd=scene.parent, prepare=break_stdout)
    assert (done.code, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("prompt", "caption", "noted"),
    [
        ("abra", "This is an image of {}", True),
        ("THIS is an image of onix", "This is an image of {}", False),
        ("abra", "{}", False),
    ],
)
def test_a_clip_tells_how_it_was_taught(
    scene: Path, tiny_models: list[str], prompt: str, caption: str, noted: bool
) -> None:
    from cli.tiny_models import CLIP

    from slip.models.checkpoint import read_checkpoint, save_checkpoint

    _, state = read_checkpoint(Path(tiny_models[3]), "clip")
    training = {"classes": ["abra", "onix"], "caption": caption}
    save_checkpoint(scene.parent / "monsters.safetensors", "clip", CLIP, state, training)
    models = [*tiny_models[:2], "--clip", "monsters"]
    done = run_warm("segment", "scene.png", prompt, *models, *EVERY_SEGMENT, cwd=scene.parent)
    assert done.code == 0, done.stderr
    notes = [line for line in done.stderr.splitlines() if "note:" in line]
    said = (
        "slip: note: monsters.safetensors was taught captions like "
        '"This is an image of abra"; ask in these words'
    )
    assert notes == [said] * noted
