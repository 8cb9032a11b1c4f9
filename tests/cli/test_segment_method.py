"""``slip segment --method``: a network of parts, of random weights here, in the place of SLIP's search."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import bad_files as bad
import numpy as np
import PIL.Image
import pytest
import torch
from cli.runner import CAN_FORK, Run, run, run_warm
from cli.tiny_models import CLIP

import slip
from slip.images import load_image
from slip.masks import decode_rle
from slip.models.checkpoint import save_checkpoint
from slip.models.cris.config import CrisConfig
from slip.models.cris.network import Cris
from slip.options import PART_THRESHOLD

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="the command is forked")

VISION = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}
SMALLEST = CrisConfig({**CLIP, "vision_cfg": VISION}, 64, 17, width=32, layers=1, heads=2, hidden=16)
TRAINING = {"data": "cars", "parts": ["back bumper", "front left door", "hood", "trunk", "wheel", "window"]}
SIZE = (120, 90)


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``cars``, which finds something, and ``blind``, which finds nothing."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    network = Cris(SMALLEST)
    for name in ("cars", "blind"):
        path = folder / f"{name}.safetensors"
        save_checkpoint(path, "cris", SMALLEST.to_json(), network.state_dict(), TRAINING)
        with torch.no_grad():
            network.projector.filters.bias[-1] = -50
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    picture = PIL.Image.new("RGB", SIZE, "white")
    picture.paste("red", (20, 20, 60, 70))
    picture.save(tmp_path / "car.png")
    return tmp_path / "car.png"


def ask(photo: Path, networks: Path, *more: str, weights: str = "cars", **streams: Any) -> Run:
    named = ["--method", "cris", "--weights", str(networks / weights)]
    return run_warm("segment", *more, *named, cwd=photo.parent, **streams)


def test_every_result(photo: Path, networks: Path) -> None:
    wanted = ["--overlay", "--cutout", "--all-segments"]
    done = ask(photo, networks, "car.png", "the hood", *wanted)
    assert done.code == 0, done.stderr
    assert set(done.lines) == {f"car.{kind}.png" for kind in ("mask", "overlay", "cutout", "segments")} | {
        "car.json"
    }
    assert done.stderr.startswith("slip: 'the hood': score 0.") and done.stderr.count("\n") == 1
    report = json.loads((photo.parent / "car.json").read_text())
    mask = np.asarray(PIL.Image.open(photo.parent / "car.mask.png"))
    assert mask.shape == SIZE[::-1]
    assert np.array_equal(mask == 255, decode_rle(report["rle"]))
    assert np.array_equal(mask == 255, np.asarray(PIL.Image.open(photo.parent / "car.segments.png")) == 1)
    assert not {"predicted_iou", "stability"} & set(report)
    assert report["runners_up"] == [] and report["found"] is True
    assert report["models"] == {"cris": "cars.safetensors"}
    assert report["options"] == {
        "method": "cris",
        "weights": str(networks / "cars.safetensors"),
        "threshold": PART_THRESHOLD,
        "device": report["options"]["device"],
        "precision": report["options"]["precision"],
    }
    assert {"decode", "models", "ask"} <= set(report["timings"])


def test_the_answer_is_that_of_the_library(photo: Path, networks: Path) -> None:
    ask(photo, networks, "car.png", "hood")
    finder = slip.load_parts("cris", str(networks / "cars"), "cpu", "fp32")
    for source in (photo, photo.read_bytes(), load_image(photo)):
        best = finder.segment(source, "hood").best
        assert np.array_equal(best.mask, np.asarray(PIL.Image.open(photo.parent / "car.mask.png")) == 255)
    assert [one.prompt for one in finder.segment_each(photo, ["hood", "a door"])] == ["hood", "a door"]


def test_from_pipe_to_pipe(photo: Path, networks: Path) -> None:
    done = ask(photo, networks, "-", "hood", "-o", "-", stdin=photo.read_bytes())
    assert done.code == 0, done.stderr
    assert PIL.Image.open(io.BytesIO(done.stdout)).size == SIZE
    assert [path.name for path in photo.parent.iterdir()] == ["car.png"]


def test_nothing_found(photo: Path, networks: Path) -> None:
    done = ask(photo, networks, "car.png", "hood", "--json", weights="blind.safetensors")
    assert (done.code, done.lines) == (1, ["car.json"])
    assert done.stderr == (
        "slip: nothing found for 'hood'; try other words, or weights that were taught this part\n"
    )
    assert json.loads((photo.parent / "car.json").read_text())["found"] is False


@pytest.mark.parametrize(
    ("prompt", "noted"),
    [
        ("Hood", False),
        ("door", False),
        ("the left door", False),
        ("the hood of the red car", False),
        ("roof", True),
        ("car", True),
        ("firewheel", True),
    ],
)
def test_what_it_was_taught_is_told_of_other_parts(
    photo: Path, networks: Path, prompt: str, noted: bool
) -> None:
    done = ask(photo, networks, "car.png", prompt)
    said = (
        "slip: note: cars.safetensors was taught the parts of cars: back bumper, front left door, hood, "
        "trunk, wheel and 1 more\n"
    )
    assert done.code == 0, done.stderr
    assert done.stderr.count("note:") == noted == (said in done.stderr)


def test_many_pictures_and_prompts(photo: Path, networks: Path) -> None:
    folder = photo.parent / "cars"
    (folder / "sub").mkdir(parents=True)
    photo.rename(folder / "a.png")
    (folder / "sub" / "b.png").write_bytes(bad.picture())
    (folder / "c.png").write_bytes(b"no picture")
    asked = ["cars", "--prompt", "hood", "--prompt", "wheel", "-o", "out", "--json"]
    done = ask(photo, networks, *asked)
    assert done.code == 3
    assert "4 found, 0 without a match, 2 failed" in done.stderr
    out = photo.parent / "out"
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {(row["image"], row["prompt"], row["status"]) for row in rows if row["status"] == "found"} == {
        (f"cars/{name}", prompt, "found") for name in ("a.png", "sub/b.png") for prompt in ("hood", "wheel")
    }
    assert (out / "a.hood.mask.png").is_file() and (out / "sub/b.wheel.json").is_file()
    again = ask(photo, networks, *asked)
    assert again.code == 3 and "4 of them before" in again.stderr
    other = ask(photo, networks, *asked, weights="blind")
    assert other.code == 2 and "other settings" in other.stderr, "weights are settings"


def test_coco(photo: Path, networks: Path) -> None:
    done = ask(photo, networks, "car.png", "--prompt", "hood", "-o", "out", "--format", "coco")
    assert done.code == 0, done.stderr
    told = json.loads((photo.parent / "out" / "coco.json").read_text())
    assert [one["name"] for one in told["categories"]] == ["hood"]
    assert len(told["annotations"]) == 1 and told["annotations"][0]["area"] > 0


def test_on_a_cluster(photo: Path, networks: Path) -> None:
    pytest.importorskip("ray", reason='needs pip install "slip-segment[ray]"')
    asked = ["segment", "car.png", "--prompt", "hood", "--prompt", "wheel", "--method", "cris"]
    asked += ["--weights", str(networks / "cars")]
    here = run_warm(*asked, "-o", "here", cwd=photo.parent)
    small = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    there = run(*asked, "-o", "there", "--engine", "ray", cwd=photo.parent, env=small)
    assert (here.code, there.code) == (0, 0), here.stderr + there.stderr
    for name in ("car.hood.mask.png", "car.wheel.mask.png"):
        assert (photo.parent / "here" / name).read_bytes() == (photo.parent / "there" / name).read_bytes()


OF_SLIP = [
    ["--preset", "tiny"],
    ["--sam", "tiny"],
    ["--clip", "tiny"],
    ["--clip-weights", "openai"],
    ["--no-cache"],
    ["--proposer", "fast"],
    ["--points", "guided"],
    ["--points-per-side", "4"],
    ["--pred-iou-thresh", ".5"],
    ["--stability-thresh", ".5"],
    ["--overlap", "nms"],
    ["--view", "raw"],
    ["--template", "a {}"],
    ["--negative", "a cat"],
    ["--min-score", ".5"],
    ["--always"],
    ["--top-k", "2"],
    ["--all-matches"],
    ["--assign", "one-to-one"],
    ["--label-all"],
]


@pytest.mark.parametrize("given", OF_SLIP, ids=lambda given: given[0])
def test_what_is_of_slips_search_is_refused(photo: Path, networks: Path, given: list[str]) -> None:
    done = ask(photo, networks, "car.png", "hood", *given)
    refused(done, photo, 2, f"{given[0]} goes with --method slip")


def refused(done: Run, photo: Path, code: int, *says: str) -> None:
    """One line, an exit code, and nothing written."""
    assert done.code == code, done.stderr
    assert done.stdout == b""
    assert done.stderr.startswith("slip: error: ") and done.stderr.count("\n") == 1
    for text in says:
        assert text in done.stderr
    assert {path.name for path in photo.parent.iterdir()} <= {"car.png", "no-cache"}


def test_weights_that_are_missing_or_of_another_kind(
    photo: Path, networks: Path, tiny_models: list[str]
) -> None:
    network = ["--method", "cris"]
    make = "--method cris needs --weights NAME; make them with slip finetune DATASET --method cris -o NAME"
    for given, code, says in (
        (network, 2, make),
        (["--weights", "cars"], 2, "--weights goes with --method cris, clipseg or maskrcnn"),
        ([*network, "--weights", "nowhere"], 4, "there are no weights at nowhere"),
        ([*network, "--weights", tiny_models[3]], 4, "is a clip checkpoint"),
        (["--method", "maskrcnn", "--weights", str(networks / "cars")], 4, "is a cris checkpoint"),
        (["--method", "sam"], 2, "--method"),
    ):
        for picture in ("car.png", "gone.png"):
            done = run_warm("segment", picture, "hood", *given, cwd=photo.parent)
            if code == 4 or picture == "car.png":
                refused(done, photo, code, says)
        if code == 4:
            many = ["segment", "car.png", "--prompt", "hood", "--prompt", "door", "-o", "out"]
            refused(run_warm(*many, *given, cwd=photo.parent), photo, code, says)


def test_damaged_weights(photo: Path, networks: Path, tmp_path: Path) -> None:
    path = networks / "damaged.safetensors"
    path.write_bytes((networks / "cars.safetensors").read_bytes()[:-1000])
    done = ask(photo, networks, "car.png", "hood", weights="damaged")
    refused(done, photo, 4, "damaged")
    path.unlink()


@pytest.mark.parametrize("method", ["slip", "sam"])
def test_the_library_refuses_other_methods(method: Any) -> None:
    with pytest.raises(slip.UsageError, match="choose from cris, clipseg, maskrcnn"):
        slip.load_parts(method, "cars")
