from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
from cli.runner import run, run_python, run_warm

from slip import __version__
from slip.data.critters.layouts import draw_files
from slip.options import CritterOptions

SMALL = ("--count", "2", "--size", "32", "--critters", "1", "--distractors", "1", "--seed", "3")
WANTED = CritterOptions(count=2, size=32, seed=3, critters=1, distractors=1)


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def interrupt_at(count: int) -> None:
    """Ctrl-C while a file of the set is written."""
    calls = iter(range(count))

    def fsync(_: int) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt

    os.fsync = fsync


def test_a_set_is_drawn_and_completed(tmp_path: Path) -> None:
    done = run("critters", "new/set", *SMALL, cwd=tmp_path)
    folder = tmp_path / "new" / "set"
    assert (done.code, done.lines) == (0, ["new/set"])
    assert done.stderr.startswith("slip: 7 files drawn, ") and done.stderr.count("\n") == 1
    files = tree(folder)
    note = json.loads(files.pop("critters.json"))
    assert note == {
        "slip": __version__,
        "layout": "scenes",
        "count": 2,
        "size": 32,
        "seed": 3,
        "style": "picture",
        "critters": 1,
        "distractors": 1,
    }
    assert files == {file.path: file.content() for file in draw_files(WANTED)}

    for name in ("images/000001.png", "annotations.json"):
        (folder / name).unlink()
    again = run("critters", "new/set", *SMALL, cwd=tmp_path)
    assert (again.code, again.lines) == (0, ["new/set"])
    assert again.stderr.startswith("slip: 2 files drawn, 5 there already, ")
    assert {**tree(folder), "critters.json": b""} == {**files, "critters.json": b""}


def test_interrupted_and_drawn_again(tmp_path: Path) -> None:
    done = run_warm("critters", "set", *SMALL, cwd=tmp_path, prepare=partial(interrupt_at, 4))
    assert (done.code, done.stdout, done.stderr) == (130, b"", "slip: interrupted\n")
    assert len(tree(tmp_path / "set")) == 4, "none of them half written"
    assert run_warm("critters", "set", *SMALL, cwd=tmp_path).code == 0
    files = tree(tmp_path / "set")
    del files["critters.json"]
    assert files == {file.path: file.content() for file in draw_files(WANTED)}


def test_folders(tmp_path: Path) -> None:
    wanted = ("--layout", "folders", "--count", "1", "--size", "32", "--style", "artwork")
    done = run_warm("critters", "set", *wanted, cwd=tmp_path)
    assert (done.code, done.lines) == (0, ["set"])
    assert "151 files drawn" in done.stderr
    assert len([path for path in (tmp_path / "set").iterdir() if path.is_dir()]) == 151


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (["--count", "0"], "count is 0"),
        (["--count", "many"], "--count"),
        (["--size", "8"], "size is 8; give 32 to 4096"),
        (["--size", "100000"], "size is 100000"),
        (["--critters", "300"], "critters is 300; give 0 to 100"),
        (["--distractors", "-1"], "distractors is -1"),
        (["--seed", "-1"], "seed -1 is below 0"),
        (["--layout", "pile"], "--layout"),
        (["--style", "oil"], "--style"),
        (["--layout", "folders", "--critters", "2"], "leave out --critters"),
    ],
)
def test_bad_values(tmp_path: Path, wanted: list[str], says: str) -> None:
    done = run_warm("critters", "set", *wanted, cwd=tmp_path)
    assert (done.code, done.stdout) == (2, b"")
    assert says in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_folders_that_hold_something_else(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.png").write_bytes(b"mine")
    refused = run_warm("critters", "photos", cwd=tmp_path)
    assert (refused.code, refused.stderr.count("\n")) == (2, 1)
    assert "not empty" in refused.stderr
    assert tree(tmp_path / "photos") == {"mine.png": b"mine"}

    refused = run_warm("critters", "photos/mine.png", cwd=tmp_path)
    assert (refused.code, refused.stderr.count("\n")) == (3, 1)

    for damaged in (b"{", b"[]", b"\xff"):
        (tmp_path / "photos" / "critters.json").write_bytes(damaged)
        refused = run_warm("critters", "photos", cwd=tmp_path)
        assert (refused.code, refused.stderr.count("\n")) == (2, 1)
        assert "critters.json" in refused.stderr


def test_another_set_in_its_place(tmp_path: Path) -> None:
    assert run_warm("critters", "set", *SMALL, cwd=tmp_path).code == 0
    before = tree(tmp_path / "set")
    refused = run_warm("critters", "set", *SMALL, "--size", "48", "--seed", "4", cwd=tmp_path)
    assert (refused.code, refused.stderr.count("\n")) == (2, 1)
    assert "size 32, not 48; seed 3, not 4" in refused.stderr
    assert tree(tmp_path / "set") == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs permissions that bind")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    done = run_warm("critters", "locked/set", cwd=tmp_path)
    assert (done.code, done.stderr.count("\n")) == (3, 1)


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = """
import sys
sys.argv = ["slip", "critters", "--help"]
from slip.cli.app import main
try:
    main()
finally:
    print(*sorted({"torch", "cv2", "numpy", "PIL"} & set(sys.modules)), file=sys.stderr)
"""
    done = run_python(code, cwd=tmp_path)
    assert (done.code, done.stderr.split()) == (0, [])
    assert "(100 scenes, 20" in done.stdout.decode()
