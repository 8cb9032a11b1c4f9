"""What a careless or hostile user hands in: each is one line, an exit code and no stray file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import bad_files as bad
import numpy as np
import PIL.Image
import pytest
from cli.runner import CAN_FORK, Run, run, run_python, run_warm

from slip import Slip
from slip.options import ProposeOptions
from slip.weights import catalogue

EVERY_SEGMENT = ["--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "2"]
SEGMENT = ["segment", "a.png", "a bird"]
ABSENT = "cuda" if sys.platform == "darwin" else "mps"
"""A device that no machine of this system has."""
LONG = "a" * 300
"""A name longer than file systems allow."""
Files = Mapping[str, Callable[[], bytes]]


@dataclass(frozen=True)
class Row:
    """One bad input.

    arguments: of ``slip``. files: what the folder holds beforehand, besides ``a.png``.
    code: the exit code. says: what the last line on stderr names. notes: what the lines before it
    name, one each. writes: the new files; size: (width, height) of the masks among them.
    models: which of them are the tiny random ones, ``sam`` and ``clip``; None for what must be told
    before torch is imported.
    """

    name: str
    arguments: list[str]
    code: int
    says: tuple[str, ...]
    files: Files = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    size: tuple[int, int] = (40, 30)
    models: tuple[str, ...] | None = None
    stdin: bytes = b""
    stdout: Path | None = None


def unreadable(name: str, content: Callable[[], bytes], *says: str, options: tuple[str, ...] = ()) -> Row:
    """A file that is no picture; named .jpg whatever it holds."""
    arguments = ["segment", "bad.jpg", "x", *options]
    return Row(name, arguments, 3, ("bad.jpg", *says), {"bad.jpg": content})


def misuse(name: str, arguments: list[str], *says: str) -> Row:
    return Row(name, arguments, 2, says)


def checkpoint(name: str, option: str, file: str, content: Callable[[], bytes], *says: str) -> Row:
    """Weights that cannot be used; where they are CLIP's, the SAM is sound."""
    options = ["--clip", "ViT-B-32", option, file] if option == "--clip-weights" else [option, file]
    models = () if option == "--sam" else ("sam",)
    return Row(name, [*SEGMENT, *options], 4, (file, *says), {file: content}, models=models)


def odd(name: str, prompt: str, *notes: str, options: tuple[str, ...] = (), **fields: object) -> Row:
    """A prompt or picture that is unusual and sound."""
    arguments = ["segment", fields.pop("image", "a.png"), prompt, *options]
    return Row(name, arguments, 0, ("score ",), notes=notes, models=("sam", "clip"), **fields)


PICTURES = [
    Row("missing file", ["segment", "none.png", "x"], 3, ("none.png", "does not exist", "check the path")),
    Row("missing file with control characters", ["segment", "\x1b[31mnone\r.png", "x"], 3, ("none",)),
    Row("folder", ["masks", ".", "-o", "."], 3, ("is a folder", "name a picture in it")),
    unreadable("empty file", bytes, "is empty"),
    unreadable("text named .jpg", lambda: b"not a picture\n" * 50, "is not a picture"),
    unreadable("truncated JPEG", lambda: bad.picture(format_="JPEG")[:-40], "damaged or incomplete"),
    unreadable("truncated PNG", lambda: bad.picture()[:-40], "damaged or incomplete"),
    unreadable("bomb", lambda: bad.bomb(20_000, 20_000), "20000 x 20000", "400 megapix", "--max-megapixels"),
    unreadable(
        "bomb with the limit raised",
        lambda: bad.bomb(11_000, 10_000),
        "damaged or incomplete",
        options=("--max-megapixels", "120"),
    ),
    Row("text on stdin", ["segment", "-", "x", "-o", "b.png"], 3, ("not a picture",), stdin=b"text"),
    Row("nothing on stdin", ["masks", "-", "-o", "."], 3, ("is empty",)),
]

OUTPUTS = [
    Row("folder below a file", [*SEGMENT, "-o", "a.png/b.png"], 3, ("a.png/b.png", "create it first")),
    Row("folder that is missing", [*SEGMENT, "-o", "none/b.png"], 3, ("none/b.png", "create it first")),
    Row("output exists", SEGMENT, 2, ("a.mask.png", "--overwrite"), {"a.mask.png": bytes}),
    Row("picture's name too long", ["segment", f"{LONG}.png", "x"], 3, ("too long",)),
    Row("output's name too long", [*SEGMENT, "-o", f"{LONG}.png"], 3, (f"{LONG}.png", "too long")),
    Row("folder's name too long", ["masks", "a.png", "-o", LONG], 3, (LONG, "too long")),
    Row(
        "no room for .mask.png",
        ["segment", f"{LONG[:251]}.p", "x"],
        3,
        (f"{LONG[:251]}.mask.png", "too long"),
        {f"{LONG[:251]}.p": bad.picture},
    ),
    misuse("output is the picture", [*SEGMENT, "-o", "a.png", "--overwrite"], "a.png", "the picture itself"),
    misuse("output is no PNG", [*SEGMENT, "-o", "a.jpg"], "a.jpg", ".png"),
    Row(
        "no space left on stdout",
        [*SEGMENT, "-o", "-"],
        3,
        ("standard output", "No space left"),
        models=("sam", "clip"),
        stdout=Path("/dev/full"),
    ),
]

ADAPTIVE_REFERENCE = ["--proposer", "reference", "--points", "adaptive"]
VALUES = [
    misuse("empty prompt", ["segment", "a.png", ""], "prompt is empty"),
    misuse("blank prompt", ["segment", "a.png", " \t\u3000"], "prompt is empty"),
    misuse("prompt of other bytes", ["segment", "a.png", os.fsdecode(b"\xff\xfe")], "Unicode", "UTF-8"),
    misuse("preset", [*SEGMENT, "--preset", "huge"], "huge", "tiny"),
    misuse("device", [*SEGMENT, "--device", "tpu"], "tpu", "cuda"),
    misuse("precision", [*SEGMENT, "--precision", "int8"], "int8", "bf16"),
    misuse("view", [*SEGMENT, "--view", "\x1b[31mred"], "red", "blur"),
    misuse("overlap", ["masks", "a.png", "--overlap", "some"], "some", "paper"),
    misuse("proposer", [*SEGMENT, "--proposer", "slow"], "slow", "reference"),
    misuse("points", ["masks", "a.png", "--points", "some"], "some", "exhaustive"),
    misuse("points of the reference", [*SEGMENT, *ADAPTIVE_REFERENCE], "every point", "proposer fast"),
    misuse(
        "points for a prompt",
        ["masks", "a.png", "--points", "guided"],
        "'guided' is not one of",
        "'exhaustive'",
    ),
    misuse("masks at them", ["masks", "a.png", *ADAPTIVE_REFERENCE], "every point", "points exhaustive"),
    misuse("no points", [*SEGMENT, "--points-per-side", "0"], "--points-per-side"),
    misuse("too many points", [*SEGMENT, "--points-per-side", "1000"], "1000", "256"),
    misuse("threshold", ["masks", "a.png", "--stability-thresh", "nan"], "--stability-thresh"),
    misuse("no masks", [*SEGMENT, "--top-k", "0"], "--top-k"),
    misuse("no megapixels", [*SEGMENT, "--max-megapixels", "0"], "0", "above 0"),
    misuse("CLIP without weights", [*SEGMENT, "--clip", "RN50"], "RN50", "--clip-weights"),
]

MODELS = [
    Row("no such SAM", [*SEGMENT, "--sam", "none.pth"], 2, ("none.pth", "vit_b"), models=()),
    Row(
        "no such CLIP",
        [*SEGMENT, "--clip", "ViT-B-23", "--clip-weights", "openai"],
        2,
        ("ViT-B-23", "ViT-B-32"),
        models=(),
    ),
    Row("device that is not here", [*SEGMENT, "--device", ABSENT], 2, (ABSENT, "cpu"), models=()),
    Row(
        "fp16 on a CPU", [*SEGMENT, "--device", "cpu", "--precision", "fp16"], 2, ("fp16", "bf16"), models=()
    ),
    checkpoint("damaged checkpoint", "--sam", "sam.safetensors", lambda: bytes(range(256)), "damaged"),
    checkpoint("text as SAM", "--sam", "sam.pth", lambda: b"<html>Not found</html>", "read safely"),
    checkpoint("hostile pickle as SAM", "--sam", "sam.pth", bad.hostile_pickle, "read safely"),
    checkpoint("hostile archive as SAM", "--sam", "sam.pth", bad.hostile_archive, "read safely"),
    checkpoint("hostile pickle as CLIP", "--clip-weights", "clip.pt", bad.hostile_pickle, "read safely"),
    checkpoint("hostile archive as CLIP", "--clip-weights", "clip.pt", bad.hostile_archive, "read safely"),
    checkpoint(
        "hostile TorchScript",
        "--clip-weights",
        "clip.pt",
        bad.hostile_torchscript,
        "TorchScript",
        "state dict",
    ),
    checkpoint(
        "SAM of another width",
        "--sam",
        "sam.pth",
        lambda: bad.state_dict(image_encoder__patch_embed__proj__weight=(77, 3, 16, 16)),
        "no official SAM",
        "vit_b",
    ),
    checkpoint(
        "CLIP of another architecture",
        "--clip-weights",
        "clip.pt",
        lambda: bad.state_dict(text_projection=(512, 640)),
        "CLIP ViT-B-32",
    ),
    Row("a CLIP as SAM", [*SEGMENT, "--sam", "CLIP"], 4, ("a clip checkpoint", "a sam"), models=()),
    Row("a SAM as CLIP", [*SEGMENT, "--clip", "SAM"], 4, ("a sam checkpoint", "a clip"), models=("sam",)),
    Row(
        "offline",
        SEGMENT,
        4,
        (
            "sam_vit_b_01ec64.pth",
            catalogue()["sam/vit_b"].url,
            str(Path("no-cache", "weights", "sam_vit_b_01ec64.pth")),
            "--preset tiny",
            "SLIP_OFFLINE",
        ),
        models=(),
    ),
    Row(
        "wrong file in the cache",
        SEGMENT,
        4,
        ("sam_vit_b_01ec64.pth", "SHA-256", "remove it"),
        {"no-cache/weights/sam_vit_b_01ec64.pth": lambda: b"not weights"},
        models=(),
    ),
]

ODD = [
    odd("long prompt", "red " * 50, "cut to its first 30 tokens", writes=("a.mask.png",)),
    odd(
        "no Latin letter",
        "青い鳥 طائر أزرق 🐦",
        options=("--overlay",),
        writes=("a.mask.png", "a.overlay.png"),
    ),
    odd(
        "control characters",
        "\x1b[31mred\x07\x9b31m",
        options=("--json",),
        writes=("a.mask.png", "a.json"),
    ),
    odd("turned", "x", image="b.jpg", files={"b.jpg": bad.turned}, writes=("b.mask.png",), size=(30, 40)),
    *(
        odd(
            f"animated {format_}",
            "x",
            "first is used",
            image="b.img",
            files={"b.img": partial(bad.animation, format_)},
            writes=("b.mask.png",),
        )
        for format_ in ("GIF", "WEBP")
    ),
    odd(
        "60 megapixels",
        "x",
        image="b.png",
        files={"b.png": bad.huge},
        writes=("b.mask.png",),
        size=(10_000, 6_000),
    ),
]

SOUND = {
    "1 x 1": lambda: bad.picture(size=(1, 1)),
    "1 x 300": lambda: bad.picture(size=(1, 300)),
    "300 x 1": lambda: bad.picture(size=(300, 1), format_="JPEG"),
    "16 bit": bad.deep_grey,
    "black and white": lambda: bad.picture("1"),
    "grey": lambda: bad.picture("L", format_="JPEG"),
    "grey with alpha": lambda: bad.picture("LA"),
    "palette": lambda: bad.picture("P"),
    "transparent palette": lambda: bad.picture("P", format_="GIF", transparency=0),
    "alpha": lambda: bad.picture("RGBA", format_="WEBP"),
    "CMYK": lambda: bad.picture("CMYK", format_="JPEG"),
    "CMYK TIFF": lambda: bad.picture("CMYK", format_="TIFF"),
}

ROWS = [*PICTURES, *OUTPUTS, *VALUES, *MODELS, *ODD]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def with_models(row: Row, tiny_models: list[str]) -> list[str]:
    """The row's arguments, with the models it asks for; SAM and CLIP stand for their paths."""
    paths = {"SAM": tiny_models[1], "CLIP": tiny_models[3]}
    arguments = [paths.get(argument, argument) for argument in row.arguments]
    if "sam" in row.models:
        arguments += tiny_models[:2]
    return arguments + (tiny_models[2:] if "clip" in row.models else []) + EVERY_SEGMENT


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_bad_input(row: Row, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for name, content in {"a.png": bad.picture, **row.files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content())
    before = contents(tmp_path)
    if row.models is None:
        done = run(*row.arguments, cwd=tmp_path, stdin=row.stdin)
    elif CAN_FORK and (row.stdout is None or row.stdout.exists()):
        arguments = with_models(row, request.getfixturevalue("tiny_models"))
        done = run_warm(*arguments, cwd=tmp_path, stdin=row.stdin, stdout=row.stdout)
    else:
        pytest.skip("not on this system")
    check(row, done)
    after = contents(tmp_path)
    assert sorted(after) == sorted([*before, *row.writes])
    assert {name: after[name] for name in before} == before
    for name in row.writes:
        if name.endswith(".mask.png"):
            with PIL.Image.open(tmp_path / name) as mask:
                assert (mask.mode, mask.size) == ("L", row.size)


def check(row: Row, done: Run) -> None:
    """What is said, and how the command ends."""
    assert done.code == row.code, done.stderr
    assert done.lines == list(row.writes)
    *notes, last = done.stderr.splitlines()
    assert last.startswith("slip: error: " if row.code else "slip: "), done.stderr
    assert [word for word in row.says if word not in last] == [], last
    assert len(notes) == len(row.notes), done.stderr
    for note, word in zip(notes, row.notes, strict=True):
        assert note.startswith("slip: note: ") and word in note
    assert all(line.isprintable() for line in (*notes, last)), "the terminal would be controlled"


def test_bad_values_wait_for_no_network_library(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bad.picture())
    told = [row.arguments for row in ROWS if row.models is None and not row.files and not row.stdin]
    code = f"""
import sys
from slip.cli.app import run
for arguments in {told!r}:
    sys.argv = ["slip", *arguments]
    run()
print(*{{"torch", "segment_anything", "open_clip"}} & set(sys.modules))
"""
    done = run_python(code, cwd=tmp_path)
    assert (done.code, done.lines) == (0, [""]), done.stderr
    assert done.stderr.count("slip: error: ") == len(told) > 20


@pytest.fixture(scope="module")
def slip(tiny_models: list[str]) -> Slip:
    every_segment = ProposeOptions(points_per_side=2, pred_iou_thresh=0, stability_thresh=0)
    return Slip.load("tiny", sam=tiny_models[1], clip=tiny_models[3], device="cpu", options=every_segment)


@pytest.mark.parametrize("content", SOUND.values(), ids=SOUND)
def test_odd_pictures_are_searched(content: Callable[[], bytes], tmp_path: Path, slip: Slip) -> None:
    path = tmp_path / "odd.img"
    path.write_bytes(content())
    prediction = slip.segment(path, "x")
    with PIL.Image.open(path) as picture:
        assert prediction.image_size == picture.size[::-1]
    assert prediction.found
    assert {segment.mask.shape for segment in prediction.segments} == {prediction.image_size}
    assert np.isfinite([segment.score for segment in prediction.segments]).all()
