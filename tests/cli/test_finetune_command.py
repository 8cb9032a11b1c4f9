"""``slip finetune``: what it writes, says, and can be used for."""

from __future__ import annotations

import csv
import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from cli.lessons import COLOURS, EPOCHS, FINETUNE, STEPS, draw_shapes, metrics, teach
from cli.runner import CAN_FORK, run_warm

from slip.models.checkpoint import read_checkpoint
from slip.models.header import read_training

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="the commands are forked")

EVERY_SEGMENT = ["--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "2"]
SHORT = ["--epochs", "1", "--batch", "6", "--workers", "0"]


def test_the_run_tells_how_it_went(taught: Path) -> None:
    run = taught / "clip.run"
    assert {path.name for path in run.iterdir()} == {
        *("run.json", "checkpoint.pt", "metrics.jsonl", "split.csv", "curves.png")
    }
    told = metrics(run)
    steps = [record for record in told if "train_loss" not in record]
    epochs = [record for record in told if "train_loss" in record]
    assert [record["step"] for record in steps] == list(range(1, EPOCHS * STEPS + 1))
    assert [record["epoch"] for record in epochs] == list(range(1, EPOCHS + 1))
    assert all(record["rate"] > 0 and record["loss"] > 0 for record in steps)
    for record in epochs:
        own = [step["loss"] for step in steps if step["epoch"] == record["epoch"]]
        assert record["train_loss"] == pytest.approx(np.mean(own))
        assert record["validation_accuracy"] * 6 == pytest.approx(round(record["validation_accuracy"] * 6))
    with PIL.Image.open(run / "curves.png") as picture:
        assert picture.size == (900, 2 * 560)


def test_the_split_is_written_out(taught: Path) -> None:
    with (taught / "clip.run/split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = {path.relative_to(taught / "shapes").as_posix() for path in taught.glob("shapes/*/*.png")}
    assert {row["name"] for row in rows} == names
    held_out = [row["label"] for row in rows if row["side"] == "validation"]
    assert sorted(held_out) == sorted(2 * COLOURS)


def test_the_result_knows_where_it_comes_from(taught: Path) -> None:
    training = read_training(taught / "clip.safetensors")
    assert training is not None
    assert training["data"] == "shapes" and len(training["digest"]) == 64
    assert (training["classes"], training["caption"]) == (list(COLOURS), "{}")
    assert training["split"] == {"validation": 0.2, "seed": 42}
    assert training["start"] == "clip.safetensors"
    assert training["options"]["loss"] == "supervised" and training["options"]["epochs"] == EPOCHS
    best = max(
        (record for record in metrics(taught / "clip.run") if "train_loss" in record),
        key=lambda record: (record["validation_accuracy"], -record["validation_loss"]),
    )
    assert best.items() <= training["metrics"].items()
    assert training["metrics"]["trials"] == 6


def test_open_clip_reads_the_plain_state_dict(taught: Path) -> None:
    import open_clip
    import torch
    from safetensors.torch import load_file

    from slip.device import Compute
    from slip.models import load_encoder

    path = taught / "clip.safetensors"
    config, _ = read_checkpoint(path, "clip")
    model = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    model.load_state_dict(load_file(path), strict=True)
    model.eval()
    with torch.inference_mode():
        plain = model.encode_text(open_clip.tokenize(COLOURS, 32), normalize=True).numpy()
    own = load_encoder(str(path), None, Compute("cpu", "fp32")).encode_text(COLOURS)
    assert np.allclose(plain, own, atol=1e-6)


def test_segment_takes_it(taught: Path, tmp_path: Path, tiny_models: list[str]) -> None:
    picture = taught / "shapes/red/0.png"
    shutil.copy(picture, tmp_path / "red.png")
    models = [*tiny_models[:2], "--clip", str(taught / "clip"), "--json", "--always"]
    done = run_warm("segment", "red.png", "red", *models, *EVERY_SEGMENT, cwd=tmp_path)
    assert (done.code, done.lines) == (0, ["red.mask.png", "red.json"]), done.stderr
    assert json.loads((tmp_path / "red.json").read_text())["models"]["clip"] == "clip.safetensors"


def mess(folder: Path) -> None:
    """A set as people have them: copies, files that are no pictures, a class with one picture."""
    draw_shapes(folder)
    for index in range(2, 6):
        shutil.copy(folder / "red/1.png", folder / f"red/1 copy {index}.png")
    for name in "abcd":
        (folder / f"blue/{name}.png").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("of the shapes")
    (folder / "lone").mkdir()
    PIL.Image.new("RGB", (20, 30), "purple").save(folder / "lone/only.png")


def test_a_set_as_people_have_them(taught: Path, tmp_path: Path) -> None:
    mess(tmp_path / "mess")
    start = ["-o", "v1.0", "--from", str(taught / "clip"), "--caption", "a {} shape", "--mix", "0.5"]
    done = teach("finetune", "mess", *start, *SHORT, "--lock", "text", cwd=tmp_path)
    assert done.lines == ["v1.0.safetensors", "v1.0.run"]
    first, copies, left_out, lone, epoch, last = done.stderr.splitlines()
    assert first == "slip: mess: 29 pictures of 4 classes"
    assert copies.startswith("slip: note: 5 pictures are copies of one another, or nearly: 1 groups")
    assert left_out.startswith("slip: note: 5 left out: blue/a.png is not a picture that can be read")
    assert left_out.endswith("; all in 'v1.0.run/unreadable.txt'")
    assert "1 of 4 classes" in lone and ": lone;" in lone
    assert epoch.startswith("slip: epoch 1 of 1: loss ")
    assert last.startswith("slip: validation accuracy ") and "best in epoch 1 of 1; before it was " in last

    listed = (tmp_path / "v1.0.run/unreadable.txt").read_text().splitlines()
    assert [line.partition("\t")[0] for line in listed] == [
        *(f"blue/{name}.png" for name in "abcd"),
        "notes.txt",
    ]
    sides = defaultdict(set)
    with (tmp_path / "v1.0.run/split.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            sides["copies" if "red/1" in row["name"] else row["name"]].add(row["side"])
    assert {len(seen) for seen in sides.values()} == {1}
    assert sides["lone/only.png"] == {"train"}

    training = read_training(tmp_path / "v1.0.safetensors")
    assert training is not None
    assert training["start"] == "clip.safetensors"
    assert training["caption"] == "a {} shape"


def find_quarters() -> None:
    """The smallest SAM finds nothing that makes sense; here it finds the middle of every quarter."""
    from fakes import segment_from

    from slip.models.sam.proposer import SamProposer

    def propose(_self: object, image: np.ndarray, _progress: object = None) -> list[object]:
        height, width = image.shape[:2]
        masks = np.zeros((4, height, width), bool)
        for mask, (y, x) in zip(masks, [(1, 1), (1, 5), (5, 1), (5, 5)], strict=True):
            mask[y * height // 8 : (y + 2) * height // 8, x * width // 8 : (x + 2) * width // 8] = True
        return [segment_from(mask) for mask in masks]

    SamProposer.propose = propose


def test_segments_of_a_sam(taught: Path, tmp_path: Path, tiny_models: list[str]) -> None:
    (tmp_path / "shapes").symlink_to(taught / "shapes")
    common = [*FINETUNE, *SHORT, "-o", "clip", "--from", tiny_models[3]]
    teach(*common, "--segments", tiny_models[1], cwd=tmp_path, prepare=find_quarters)
    found = [json.loads(line) for line in (tmp_path / "clip.run/segments.jsonl").read_text().splitlines()]
    with (tmp_path / "clip.run/split.csv").open(newline="") as file:
        trained = {row["name"] for row in csv.DictReader(file) if row["side"] == "train"}
    assert {record["name"] for record in found} == trained
    assert sum(len(record["segments"]) for record in found) == len(trained) == 18
    assert metrics(tmp_path / "clip.run") != metrics(taught / "clip.run")[: STEPS + 1]

    # anew, without: nothing of the old run is left to go into the new one
    teach(*common, "--overwrite", cwd=tmp_path)
    assert not (tmp_path / "clip.run/segments.jsonl").exists()
    training = read_training(tmp_path / "clip.safetensors")
    assert training is not None and training["segments"] is None


def test_a_table_names_pictures_and_captions(taught: Path, tmp_path: Path, tiny_models: list[str]) -> None:
    (tmp_path / "shapes").symlink_to(taught / "shapes")
    lines = [
        json.dumps({"image": f"shapes/{colour}/{index}.png", "caption": f"number {index % 3}, {colour}"})
        for colour in COLOURS
        for index in range(8)
    ]
    (tmp_path / "shapes.jsonl").write_text("\n".join(lines))
    own = ["--loss", "clip", "--schedule", "plateau", "--no-augment"]
    teach("finetune", "shapes.jsonl", *SHORT, *own, "-o", "clip", "--from", tiny_models[3], cwd=tmp_path)
    training = read_training(tmp_path / "clip.safetensors")
    assert training is not None
    assert len(training["classes"]) == 9
    assert {"loss": "clip", "schedule": "plateau", "augment": False}.items() <= training["options"].items()
