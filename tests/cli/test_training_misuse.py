"""What the commands that train refuse: one line, an exit code, and nothing written."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import PIL.Image
import pytest
from cli.lessons import FINETUNE, JUDGE, at_step, draw_shapes, metrics
from cli.runner import CAN_FORK, run_warm

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="the commands are forked")

ABSENT = "cuda" if sys.platform == "darwin" else "mps"
START = ["-o", "new", "--from", "CLIP"]
"""CLIP, SAM, TAUGHT stand for the paths of checkpoints."""


@dataclass(frozen=True)
class Row:
    """One misuse. code, says: as in test_bad_input. data: makes ``shapes``; None for the usual ones."""

    name: str
    arguments: Sequence[str]
    says: Sequence[str]
    code: int = 2
    data: Callable[[Path], object] | None = None


def picture(path: Path, colour: str = "red") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (20, 20), colour).save(path)


def one_class(folder: Path) -> None:
    for name in "abc":
        picture(folder / f"red/{name}.png", "red")


def one_picture_each(folder: Path) -> None:
    for colour in ("red", "blue"):
        picture(folder / f"{colour}/a.png", colour)


def in_two_cases(folder: Path) -> None:
    for label in ("red", "Red", "blue"):
        picture(folder / label / "a.png")


def nothing_readable(folder: Path) -> None:
    for label in ("red", "blue"):
        (folder / label).mkdir(parents=True)
        (folder / label / "a.png").write_bytes(b"")


def a_file(folder: Path) -> None:
    folder.write_bytes(b"no folder")


DATA = [
    Row("no data set", ["finetune", "none", *START], ("'none' does not exist", "critters")),
    Row("a file", [*FINETUNE, *START], ("'shapes' is no data set",), data=a_file),
    Row("empty folder", [*FINETUNE, *START], ("'shapes' holds no class folders",), data=Path.mkdir),
    Row("one class", [*FINETUNE, *START], ("one class, 'red'", "two classes or more"), data=one_class),
    Row("one class to judge", [*JUDGE, "-o", "new"], ("one class, 'red'",), data=one_class),
    Row("one picture each", [*FINETUNE, *START], ("no picture can be held out",), data=one_picture_each),
    Row("labels in two cases", [*FINETUNE, *START], ("'Red' and 'red'", "spelling"), data=in_two_cases),
    Row("nothing readable", [*FINETUNE, *START], ("no picture that can be read",), data=nothing_readable),
    Row("caption without a place", [*FINETUNE, *START, "--caption", "a shape"], ("'a shape'", "{}")),
    Row("caption with two", [*FINETUNE, *START, "--caption", "{} {}"], ("'{} {}'", "once")),
]

PLACES = [
    Row("no name", FINETUNE, ("--output",)),
    Row("missing folder", [*FINETUNE, "-o", "none/new"], ("none/new.safetensors", "create it first"), 3),
    Row("a folder", [*FINETUNE, "-o", "shapes"], ("'shapes' is no name",)),
    Row("a folder's end", [*FINETUNE, "-o", "models/"], ("'models/' is no name",)),
    Row("standard output", [*JUDGE, "-o", "-"], ("'-' is no name",)),
    Row("result exists", [*FINETUNE, "-o", "old"], ("'old.safetensors' exists", "--overwrite")),
    Row("run exists", [*JUDGE, "-o", "begun"], ("'begun.run' exists", "--resume")),
    Row("search exists", [*FINETUNE, "-o", "old", "--recipe", "paper", "--grid"], ("'old.grid' exists",)),
    Row("both ways", [*FINETUNE, *START, "--resume", "--overwrite"], ("--resume", "--overwrite")),
]

VALUES = [
    Row("no epochs", [*FINETUNE, *START, "--epochs", "0"], ("--epochs", "1")),
    Row("batch of one", [*FINETUNE, *START, "--batch", "1"], ("--batch", "2")),
    Row("no rate", [*FINETUNE, *START, "--rate", "0"], ("0", "above 0")),
    Row("rate that is no number", [*JUDGE, "-o", "new", "--rate", "nan"], ("nan", "above 0")),
    Row("mix", [*FINETUNE, *START, "--mix", "2"], ("--mix", "1")),
    Row("long warm-up", [*FINETUNE, *START, "--warmup", "9"], ("warmup", "9", "3 epochs")),
    Row("nothing held out", [*FINETUNE, *START, "--validation", "0"], ("validation", "above 0")),
    Row("all held out", [*JUDGE, "-o", "new", "--validation", "1"], ("validation", "below 1")),
    Row("loss", [*FINETUNE, *START, "--loss", "own"], ("own", "supervised")),
    Row("lock", [*FINETUNE, *START, "--lock", "both"], ("both", "image")),
    Row("schedule", [*FINETUNE, *START, "--schedule", "linear"], ("linear", "cosine")),
    Row("device", [*FINETUNE, *START, "--device", ABSENT], (ABSENT, "cpu")),
    Row("tiny pictures", [*JUDGE, "-o", "new", "--image-size", "8"], ("--image-size", "32")),
    Row("grid of another recipe", [*FINETUNE, *START, "--grid"], ("--grid", "--recipe paper")),
    Row(
        "width of another recipe", [*FINETUNE, *START, "--embed-dim", "8"], ("--embed-dim", "--recipe paper")
    ),
    Row(
        "mix of another recipe",
        [*FINETUNE, "-o", "new", "--recipe", "paper", "--mix", "0.5"],
        ("--mix", "clip"),
    ),
    Row("start of another recipe", [*FINETUNE, *START, "--recipe", "paper"], ("--from", "--recipe clip")),
    Row(
        "rate of a search",
        [*FINETUNE, "-o", "new", "--recipe", "paper", "--grid", "--rate", "0.1"],
        ("--rate", "--grid searches"),
    ),
    Row(
        "segments without augmentation",
        [*FINETUNE, *START, "--no-augment", "--segments", "tiny"],
        ("--segments", "--no-augment"),
    ),
    Row(
        "segments of parts",
        ["finetune", "critters-parts", *START, "--segments", "tiny"],
        ("--segments", "'critters-parts' has masks of parts"),
    ),
    Row(
        "segments for the paper's judge",
        ["judge", "shapes", "-o", "new", "--segments", "tiny"],
        ("--segments",),
    ),
]

MODELS = [
    Row("no such CLIP", [*FINETUNE, "-o", "new", "--from", "ViT-B-23"], ("ViT-B-23", "ViT-B-32")),
    Row("no such checkpoint", [*FINETUNE, "-o", "new", "--from", "none.safetensors"], ("none.safetensors",)),
    Row("no weights", [*FINETUNE, "-o", "new", "--from", "RN50"], ("RN50", "needs weights")),
    Row("too many weights", [*FINETUNE, *START, "--weights", "openai"], ("brings its weights", "openai")),
    Row("damaged", [*FINETUNE, "-o", "new", "--from", "old.safetensors"], ("old.safetensors", "damaged"), 4),
    Row("a SAM", [*FINETUNE, "-o", "new", "--from", "SAM"], ("a sam checkpoint", "a clip"), 4),
    Row("offline", [*FINETUNE, "-o", "new"], ("ViT-B-32", "offline"), 4),
    Row("no such SAM", [*FINETUNE, *START, "--segments", "none.pth"], ("none.pth", "vit_b")),
    Row("a CLIP as SAM", [*FINETUNE, *START, "--segments", "CLIP"], ("a clip checkpoint", "a sam"), 4),
]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("row", [*DATA, *PLACES, *VALUES, *MODELS], ids=lambda row: row.name)
def test_refused(row: Row, taught: Path, tmp_path: Path, tiny_models: list[str]) -> None:
    if row.data:
        row.data(tmp_path / "shapes")
    else:
        (tmp_path / "shapes").symlink_to(taught / "shapes")
    (tmp_path / "old.safetensors").write_bytes(b"precious")
    for folder in ("begun.run", "old.grid"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "kept").write_bytes(b"precious")
    if row.name == "search exists":
        (tmp_path / "old.safetensors").unlink()
    before = contents(tmp_path)
    paths = {"CLIP": tiny_models[3], "SAM": tiny_models[1]}
    done = run_warm(*(paths.get(word, word) for word in row.arguments), cwd=tmp_path)
    *others, last = done.stderr.splitlines()
    assert (done.code, done.stdout) == (row.code, b""), done.stderr
    assert last.startswith("slip: error: ") and len(last) < 400
    assert [word for word in row.says if word not in last] == [], last
    assert [line for line in others if line.startswith("slip: error")] == []
    assert contents(tmp_path) == before


def test_a_judge_is_no_start(taught: Path, tmp_path: Path) -> None:
    from slip.models.checkpoint import save_checkpoint

    (tmp_path / "shapes").symlink_to(taught / "shapes")
    save_checkpoint(tmp_path / "judge.safetensors", "resnet18", {}, {})
    done = run_warm(*FINETUNE, "-o", "new", "--from", "judge", cwd=tmp_path)
    assert (done.code, done.stdout) == (4, b"")
    assert "a resnet18 checkpoint" in done.stderr and not (tmp_path / "new.run").exists()


def remove(path: Path) -> None:
    path.unlink()


def test_a_picture_that_vanishes(taught: Path, tmp_path: Path, tiny_models: list[str]) -> None:
    shutil.copytree(taught / "shapes", tmp_path / "shapes")
    gone = list((tmp_path / "shapes/red").iterdir())
    kept = {path: path.read_bytes() for path in gone}
    command = [*FINETUNE, "-o", "clip", "--from", tiny_models[3]]
    vanish = partial(list, map(remove, gone))
    done = run_warm(*command, cwd=tmp_path, prepare=partial(at_step, 4, vanish))
    last = done.stderr.splitlines()[-1]
    assert (done.code, done.stdout) == (3, b"")
    assert last.startswith("slip: error: ") and "shapes/red/" in last and "does not exist" in last
    for path, content in kept.items():
        path.write_bytes(content)
    assert run_warm(*command, "--resume", cwd=tmp_path).code == 0
    assert metrics(tmp_path / "clip.run") == metrics(taught / "clip.run")


def test_a_loss_that_is_lost(taught: Path, tmp_path: Path, tiny_models: list[str]) -> None:
    (tmp_path / "shapes").symlink_to(taught / "shapes")
    lost = ["--rate", "1e30", "--warmup", "0"]
    done = run_warm(*FINETUNE, *lost, "-o", "clip", "--from", tiny_models[3], cwd=tmp_path)
    assert (done.code, done.stdout) == (2, b"")
    assert "the loss became" in done.stderr and "lower rate" in done.stderr
    assert not (tmp_path / "clip.safetensors").exists()


def test_what_can_be_told_at_once_waits_for_no_network_library(tmp_path: Path) -> None:
    from cli.runner import run_python

    draw_shapes(tmp_path / "shapes", each=1)
    told = [row.arguments for row in [*PLACES, *VALUES] if row.name in AT_ONCE]
    code = f"""
import sys
from slip.cli.app import run
for arguments in {told!r}:
    sys.argv = ["slip", *arguments]
    run()
print(*{{"torch", "open_clip"}} & set(sys.modules))
"""
    done = run_python(code, cwd=tmp_path)
    assert (done.code, done.lines) == (0, [""]), done.stderr
    assert done.stderr.count("slip: error: ") == len(told) == len(AT_ONCE)


AT_ONCE = {
    *("no name", "missing folder", "a folder's end", "standard output", "both ways"),
    *("no epochs", "batch of one", "no rate", "mix", "loss", "lock", "schedule"),
    *("grid of another recipe", "rate of a search", "segments for the paper's judge"),
}
