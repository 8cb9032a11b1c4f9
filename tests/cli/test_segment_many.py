"""``slip segment`` of many pictures and prompts, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import bad_files as bad
import numpy as np
import PIL.Image
import pytest
from cli.runner import CAN_FORK, COMMAND, run_warm
from pycocotools.coco import COCO

from slip.data.critters import make_scene
from slip.images import encode_png

FAST = ["--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "2"]
REAL = ["--preset", "tiny", "--points-per-side", "8"]
"""Models that find several segments; the random ones find one."""


@pytest.fixture
def asked(tiny_models: list[str]) -> list[str]:
    return [*tiny_models, *FAST]


def scene() -> bytes:
    """A drawing of three critters."""
    return encode_png(make_scene(1055, size=128, critters=3, distractors=0).image)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a.png", "sub/a.png", "sub/ü ✓.png", "sub/-x.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bad.picture())
    return tmp_path / "photos"


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def test_a_folder(photos: Path, asked: list[str]) -> None:
    wanted = ["photos", "a bird", "-o", "out/new", "--json", *asked]
    done = run_warm("segment", *wanted, cwd=photos.parent)
    out = photos.parent / "out" / "new"
    assert done.code == 0, done.stderr
    made = [
        f"{stem}.a-bird.{kind}"
        for stem in ("a", "sub/-x", "sub/a", "sub/ü ✓")
        for kind in ("mask.png", "json")
    ]
    assert done.lines == [f"out/new/{name}" for name in [*made, "results.jsonl"]]
    assert sorted(contents(out)) == sorted([*made, "results.jsonl"])
    assert [row["status"] for row in rows(out)] == ["found"] * 4
    assert done.stderr.startswith("slip: 4 found, 0 without a match, 0 failed, ")
    assert done.stderr.count("\n") == 1
    report = json.loads((out / "sub" / "a.a-bird.json").read_text())
    assert report["options"]["scoring"]["templates"] == ["{}"]
    with PIL.Image.open(out / "sub" / "a.a-bird.mask.png") as mask:
        assert (mask.mode, mask.size) == ("L", (40, 30))

    again = run_warm("segment", *wanted, cwd=photos.parent, prepare=forbid_models)
    assert (again.code, again.lines) == (0, ["out/new/results.jsonl"])
    assert "4 found, 0 without a match, 0 failed, 4 of them before" in again.stderr


def forbid_models() -> None:
    from slip.pipeline.slip import Slip

    Slip.load = None


def test_a_broken_picture_in_the_middle(photos: Path, asked: list[str]) -> None:
    (photos / "sub" / "b.png").write_bytes(bad.picture()[:-40])
    wanted = ["photos/a.png", "photos/sub/*.png", "none.png", "--prompt", "x", "--prompt", "y", "-o", "out"]
    done = run_warm("segment", *wanted, *asked, cwd=photos.parent)
    out = photos.parent / "out"
    assert (done.code, len(done.lines)) == (3, 9)
    assert [line for line in done.lines if not (photos.parent / line).is_file()] == []
    first, second, last = done.stderr.splitlines()
    assert first.startswith(
        "slip: failed, photos/sub/b.png: prompt x, y; because 'photos/sub/b.png' is damaged"
    )
    assert second.startswith("slip: failed, none.png: prompt x, y; because 'none.png' does not exist")
    assert last.startswith("slip: 8 found, 0 without a match, 4 failed, ")
    before = contents(out)

    (photos / "sub" / "b.png").write_bytes(bad.picture())
    again = run_warm("segment", *wanted, *asked, cwd=photos.parent)
    assert again.code == 3
    assert again.lines == [*(f"out/photos/sub/b.{prompt}.mask.png" for prompt in "xy"), "out/results.jsonl"]
    assert "10 found, 0 without a match, 2 failed, 8 of them before" in again.stderr
    assert {name: contents(out)[name] for name in before if name != "results.jsonl"}.items() <= before.items()


def test_fail_fast(photos: Path, asked: list[str]) -> None:
    (photos / "b.png").write_bytes(b"")
    done = run_warm("segment", "photos", "x", "-o", "out", "--fail-fast", *asked, cwd=photos.parent)
    assert (done.code, done.lines) == (3, ["out/a.x.mask.png", "out/results.jsonl"])
    assert [row["status"] for row in rows(photos.parent / "out")] == ["found", "failed"]


def test_nothing_matches(photos: Path, asked: list[str]) -> None:
    wanted = ["photos", "x", "-o", "out", *asked]
    done = run_warm("segment", *wanted, "--min-score", "1", cwd=photos.parent)
    assert (done.code, done.lines) == (1, ["out/results.jsonl"])
    assert [row["status"] for row in rows(photos.parent / "out")] == ["no match"] * 4
    other = run_warm("segment", *wanted, cwd=photos.parent)
    assert (other.code, other.lines) == (2, [])
    assert "other settings; keep them with --skip-existing, start anew with --overwrite" in other.stderr
    kept = run_warm("segment", *wanted, "--skip-existing", cwd=photos.parent)
    assert (kept.code, kept.lines) == (1, ["out/results.jsonl"])
    anew = run_warm("segment", *wanted, "--always", "--overwrite", cwd=photos.parent)
    assert (anew.code, len(anew.lines)) == (0, 5)


def test_no_match_in_one_picture(photos: Path, asked: list[str]) -> None:
    wanted = ["segment", "photos/a.png", "x", "--json", "--min-score", "1", *asked]
    done = run_warm(*wanted, cwd=photos.parent)
    assert (done.code, done.lines) == (1, ["photos/a.json"])
    assert done.stderr.startswith("slip: no match for 'x': the best candidate scores ")
    assert " in box (" in done.stderr
    assert done.stderr.endswith("below 1.00; --always writes it anyway, --min-score lowers the bar\n")
    report = json.loads((photos / "a.json").read_text())
    assert (report["found"], report["min_score"]) == (False, 1.0)
    assert 0 <= report["score"] < 1 and len(report["box"]) == 4


def test_every_match_of_one_picture(photos: Path) -> None:
    (photos / "a.png").write_bytes(scene())
    wanted = ["segment", "photos/a.png", "--prompt", "a bird", *REAL]
    done = run_warm(*wanted, "--all-matches", "--always", cwd=photos.parent)
    assert done.code == 0, done.stderr
    count = len(done.lines)
    names = [f"photos/a.mask{'' if rank == 1 else f'.{rank}'}.png" for rank in range(1, count + 1)]
    assert done.lines == names and count > 2
    fewer = run_warm(*wanted, "--all-matches", cwd=photos.parent)
    assert fewer.code == 2 and "exists" in fewer.stderr
    one = run_warm(*wanted, "--all-matches", "--min-score", "1", "--overwrite", cwd=photos.parent)
    assert (one.code, sorted(photos.glob("*.mask*"))) == (1, [])


def test_an_existing_mask_is_passed_over(photos: Path) -> None:
    (photos / "a.mask.png").write_bytes(b"mine")
    wanted = ["segment", "photos/a.png", "x", "--skip-existing"]
    done = run_warm(*wanted, cwd=photos.parent, prepare=forbid_models)
    assert (done.code, done.stdout) == (0, b"")
    assert done.stderr == "slip: 'photos/a.mask.png' exists and is kept\n"


def test_a_mask_passed_over_by_its_name_is_told(photos: Path, asked: list[str]) -> None:
    (photos.parent / "out").mkdir()
    (photos.parent / "out" / "a.x.mask.png").write_bytes(b"mine")
    wanted = ["photos/a.png", "photos/sub/-x.png", "--prompt", "x", "-o", "out", "--skip-existing"]
    (photos / "a.png").rename(photos / "sub" / "a.png")
    wanted[0] = "photos/sub/a.png"
    done = run_warm("segment", *wanted, *asked, cwd=photos.parent)
    assert (done.code, done.lines) == (0, ["out/-x.x.mask.png", "out/results.jsonl"])
    note, last = done.stderr.splitlines()
    assert note == "slip: 1 of those found are masks that were there, of which results.jsonl does not tell"
    assert last.startswith("slip: 2 found, ")


def test_a_picture_beside_the_results_is_not_replaced(photos: Path, asked: list[str]) -> None:
    (photos / "a.x.mask.png").write_bytes(bad.picture())
    wanted = ["photos/a.png", "photos/a.x.mask.png", "--prompt", "x", "-o", "photos", "--overwrite"]
    done = run_warm("segment", *wanted, "--always", *asked, cwd=photos.parent)
    assert (done.code, done.lines) == (3, ["photos/a.x.mask.x.mask.png", "photos/results.jsonl"])
    assert "'photos/a.x.mask.png' is a picture of this batch; name another folder with -o" in done.stderr
    assert (photos / "a.x.mask.png").read_bytes() == bad.picture()


def test_standard_input_and_a_table(photos: Path, asked: list[str]) -> None:
    (photos / "list.csv").write_text("image,prompt\na.png,a bird\na.png,a fish\nsub/a.png,a bird\n")
    wanted = ["-", "--prompt", "a cat", "--from-list", "photos/list.csv", "-o", "out", *asked]
    done = run_warm("segment", *wanted, cwd=photos.parent, stdin=bad.picture())
    assert done.code == 0, done.stderr
    assert done.lines == [
        "out/stdin.a-cat.mask.png",
        "out/a.a-bird.mask.png",
        "out/a.a-fish.mask.png",
        "out/sub/a.a-bird.mask.png",
        "out/results.jsonl",
    ]


def test_coco(photos: Path, asked: list[str]) -> None:
    wanted = ["photos", "--prompt", "x", "--prompt", "y", "-o", "out", *asked]
    masks = run_warm("segment", *wanted, "--all-matches", cwd=photos.parent)
    out = photos.parent / "coco"
    wanted[6] = "coco"
    done = run_warm("segment", *wanted, "--format", "coco", "--all-matches", cwd=photos.parent)
    assert (done.code, done.lines) == (0, ["coco/results.jsonl", "coco/coco.json"])
    assert sorted(contents(out)) == ["coco.json", "results.jsonl"]
    coco = COCO(out / "coco.json")
    assert len(coco.getImgIds()) == 4
    assert len(coco.getAnnIds()) == len(masks.lines) - 1
    first = coco.annToMask(coco.loadAnns([1])[0])
    assert np.array_equal(first * 255, np.asarray(PIL.Image.open(photos.parent / "out" / "a.x.mask.png")))


def test_labels_and_assignments(photos: Path) -> None:
    (photos / "a.png").write_bytes(scene())
    wanted = ["photos/a.png", "--prompt", "a bird", "--prompt", "a bird!", *REAL, "--always"]
    done = run_warm("segment", *wanted, "-o", "labels", "--label-all", cwd=photos.parent)
    assert (done.code, done.lines[:2]) == (0, ["labels/a.labels.png", "labels/a.labels.json"])
    told = json.loads((photos.parent / "labels" / "a.labels.json").read_text())
    assert len(told["segments"]) > 2
    assert {segment["prompt"] for segment in told["segments"]} <= {"a bird", "a bird!"}
    done = run_warm("segment", *wanted, "-o", "pairs", "--assign", "one-to-one", cwd=photos.parent)
    assert (done.code, len(done.lines)) == (0, 3)
    masks = [(photos.parent / line).read_bytes() for line in done.lines[:2]]
    assert masks[0] != masks[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a.png", "b.png", "x"], "3 arguments are too many for IMAGE and PROMPT"),
        (["a.png", "b.png"], "the prompt 'b.png' is a file; name what to look for in both with --prompt"),
        ([".", "x"], "name a folder for them with -o"),
        (["a.png", "b.png", "--prompt", "x", "-o", "-"], "-o - is no folder"),
        (["a.png", "--prompt", "x", "--prompt", "y", "-o", "b.png"], "-o b.png is no folder, name one"),
        (["--prompt", "x"], "no picture is named"),
        (["a.png", "--from-list", "list.csv", "-o", "out"], "no prompt for the pictures"),
        ([".", "x", "-o", "."], "'.' is also where the results go"),
        (["empty", "x", "-o", "out"], "'empty' holds no pictures"),
        (["*.jpg", "x", "-o", "out"], "'*.jpg' holds no pictures"),
        (["*.png", "x", "-o", "."], "'*.png' is also where the results go"),
        ([".", "x", "-o", "out", "--overwrite", "--skip-existing"], "leave one of them out"),
        (["a.png", "x", "--overwrite", "--skip-existing"], "leave one of them out"),
        ([".", "x", "-o", "out", "--top-k", "2", "--all-matches"], "leave one of them out"),
        ([".", "x", "-o", "out", "--label-all", "--assign", "one-to-one"], "leave one of them out"),
        ([".", "x", "-o", "out", "--always", "--min-score", ".5"], "leave one of them out"),
        ([".", "x", "-o", "out", "--label-all", "--overlay"], "leave the rest out"),
        ([".", "x", "-o", "out", "--assign", "one-to-one", "--top-k", "2"], "leave out --top-k"),
        ([".", "x", "-o", "out", "--assign", "one-to-one", "--points", "guided"], "--points guided"),
        ([".", "x", "-o", "out", "--template", "a photo"], "{}"),
        ([".", "x", "-o", "out", "--negative", " "], "negative"),
        ([".", "x", "-o", "out", "--min-score", "2"], "--min-score"),
        ([".", "x", "-o", "a.png/out"], "a.png/out"),
        ([".", "", "-o", "out"], "the prompt is empty"),
        (["a.png", "x", "-o", "-", "--all-matches"], "--all-matches"),
    ],
    ids=" ".join,
)
def test_misuse(tmp_path: Path, arguments: list[str], says: str) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(bad.picture())
    (tmp_path / "list.csv").write_text("image,prompt\na.png,x\n")
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)
    done = run_warm("segment", *arguments, cwd=tmp_path)
    assert done.code == (3 if "a.png/out" in arguments else 2), done.stderr
    assert says in done.stderr and done.stderr.count("\n") == 1
    assert contents(tmp_path) == before
    assert done.stdout == b""


def interrupt_the_third_search() -> None:
    from slip.models.sam.proposer import SamProposer

    signal.signal(signal.SIGINT, signal.default_int_handler)
    propose, searches = SamProposer.propose, []

    def interrupted(self: SamProposer, *given: object) -> object:
        searches.append(given)
        if len(searches) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return propose(self, *given)

    SamProposer.propose = interrupted


@pytest.mark.skipif(not CAN_FORK, reason="POSIX signals")
def test_interrupted(photos: Path, asked: list[str]) -> None:
    wanted = ["segment", "photos", "x", "-o", "out", *asked]
    done = run_warm(*wanted, cwd=photos.parent, prepare=interrupt_the_third_search)
    assert done.code == 130
    assert done.stderr.splitlines() == [
        "slip: 2 of 4 pictures are done, and kept in 'out'; the same command goes on",
        "slip: interrupted",
    ]
    assert len(done.lines) == len(rows(photos.parent / "out")) == 2
    again = run_warm(*wanted, cwd=photos.parent)
    assert (again.code, len(again.lines)) == (0, 3)


@pytest.mark.skipif(not CAN_FORK, reason="POSIX signals")
def test_overwriting_interrupted(photos: Path, asked: list[str]) -> None:
    wanted = ["segment", "photos", "x", "-o", "out", "--always", *asked]
    first = run_warm(*wanted, cwd=photos.parent)
    assert (first.code, len(first.lines)) == (0, 5)
    wanted += ["--json"]
    done = run_warm(*wanted, "--overwrite", cwd=photos.parent, prepare=interrupt_the_third_search)
    assert (done.code, len(done.lines)) == (130, 4)
    assert "kept in 'out'; the same command without --overwrite goes on" in done.stderr
    again = run_warm(*wanted, cwd=photos.parent)
    assert (again.code, len(again.lines)) == (0, 5)
    assert "4 found, 0 without a match, 0 failed, 2 of them before" in again.stderr


@pytest.mark.skipif(not CAN_FORK, reason="SIGKILL")
def test_killed_and_gone_on_with(tmp_path: Path, asked: list[str]) -> None:
    (tmp_path / "in").mkdir()
    for number in range(60):
        size = (40 + number, 90 - number)
        (tmp_path / "in" / f"{number:02}.png").write_bytes(bad.picture(size=size))
    wanted = ["segment", "in", "x", "--overlay", "--json", "--min-score", ".5", *asked, "-o"]
    results = tmp_path / "out" / "results.jsonl"
    lines = 0
    for _ in range(2):
        lines = kill_after(lines + 7, [*wanted, "out"], results, tmp_path)
    before, kept = contents(tmp_path / "out"), results.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    named = {name for line in kept.splitlines() for name in json.loads(line)["files"]}
    times = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in named}
    assert 14 <= kept.count(b"\n") < 60, "killed in the middle"

    done = run_warm(*wanted, "out", cwd=tmp_path)
    assert done.code in (0, 1), done.stderr
    assert results.read_bytes().startswith(kept)
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in named} == times
    assert [row["image"] for row in rows(tmp_path / "out")] == [f"in/{number:02}.png" for number in range(60)]
    assert {row["status"] for row in rows(tmp_path / "out")} <= {"found", "no match"}
    assert {name: data for name, data in before.items() if name != "results.jsonl"}.items() <= (
        contents(tmp_path / "out").items()
    )

    whole = run_warm(*wanted, "whole", cwd=tmp_path)
    assert whole.code == done.code
    assert {**contents(tmp_path / "out"), "results.jsonl": b""} == {
        **contents(tmp_path / "whole"),
        "results.jsonl": b"",
    }
    timeless = [[{**row, "seconds": 0} for row in rows(tmp_path / name)] for name in ("out", "whole")]
    assert timeless[0] == timeless[1]


def kill_after(lines: int, arguments: list[str], results: Path, cwd: Path) -> int:
    """Start the command and kill it when the results have so many lines; returns how many they have."""
    env = {**os.environ, "SLIP_OFFLINE": "1", "SLIP_CACHE_SIZE": "0", "OMP_NUM_THREADS": "1"}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([str(COMMAND), *arguments], cwd=cwd, env=env, **silent) as process:
        deadline = time.monotonic() + 120
        while not (results.exists() and results.read_bytes().count(b"\n") >= lines):
            assert process.poll() is None and time.monotonic() < deadline, "it should be under way"
            time.sleep(0.002)
        process.kill()
    return results.read_bytes().count(b"\n")


def test_a_named_prompt_and_a_folder_are_a_batch_of_one(photos: Path, asked: list[str]) -> None:
    """A pattern may have become one picture: where its results go does not depend on that."""
    wanted = ["photos/a.png", "--prompt", "x", "--always", *asked]
    done = run_warm("segment", *wanted, "-o", "new", cwd=photos.parent)
    assert done.code == 0, done.stderr
    assert set(contents(photos.parent / "new")) == {"a.x.mask.png", "results.jsonl"}
    assert run_warm("segment", *wanted, "-o", "one.png", cwd=photos.parent).lines == ["one.png"]


def test_weights_that_cannot_be_had_cost_no_results(photos: Path, asked: list[str]) -> None:
    wanted = ["photos", "a bird", "-o", "out", "--always"]
    assert run_warm("segment", *wanted, *asked, cwd=photos.parent).code == 0
    before = contents(photos.parent / "out")
    done = run_warm("segment", *wanted, "--preset", "base", "--overwrite", cwd=photos.parent)
    assert (done.code, done.stderr.count("\n")) == (4, 1), done.stderr
    assert "SLIP_OFFLINE is set" in done.stderr
    assert contents(photos.parent / "out") == before
