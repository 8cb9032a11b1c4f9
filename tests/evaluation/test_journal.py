from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation.composites import RIGHT

from slip.errors import OutputError, UsageError
from slip.evaluation.journal import Journal

RUN = {"data": "colours", "seed": 0, "models": [{"name": "m"}]}
FOUR = [replace(RIGHT, tile=tile) for tile in range(4)]
NEXT = [replace(trial, composite=1) for trial in FOUR]


def test_it_begins_and_goes_on(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "new" / "one", RUN)
    assert journal.trials == [] and not journal.holds(0, "m", False)
    journal.add(FOUR)
    assert journal.holds(0, "m", False)
    assert not journal.holds(0, "m", True) and not journal.holds(0, "n", False)
    again = Journal.open(tmp_path / "new" / "one", RUN)
    assert again.trials == FOUR and again.holds(0, "m", False)
    again.add(NEXT)
    assert Journal.open(tmp_path / "new" / "one", RUN).trials == [*FOUR, *NEXT]
    assert [path.is_file() for path in again.paths] == [True, True]
    assert json.loads(again.paths[0].read_text()) == RUN


@pytest.mark.parametrize("kept", range(0, 8))
def test_trials_that_were_cut_off_are_forgotten(tmp_path: Path, kept: int) -> None:
    journal = Journal.open(tmp_path, RUN)
    journal.add(FOUR)
    whole = (tmp_path / "trials.jsonl").read_bytes()
    journal.add(NEXT)
    lines = (tmp_path / "trials.jsonl").read_bytes()[len(whole) :].splitlines(keepends=True)
    cut = b"".join(lines[: kept // 2]) + (lines[kept // 2][:20] if kept % 2 else b"")
    (tmp_path / "trials.jsonl").write_bytes(whole + cut)
    again = Journal.open(tmp_path, RUN)
    assert again.trials == FOUR
    assert (tmp_path / "trials.jsonl").read_bytes() == whole
    again.add(NEXT)
    assert Journal.open(tmp_path, RUN).trials == [*FOUR, *NEXT]


def test_begun_and_killed_before_the_note_was_written(tmp_path: Path) -> None:
    (tmp_path / ".slip-0123456789abcdef.part").write_bytes(b"{")
    assert Journal.open(tmp_path, RUN).trials == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, "seed 0, not 1; give the same"),
        ({"data": "x", "more": [1]}, r"data colours, not x; more null, not \[1\]"),
        ({"models": [{"name": "m" * 99}]}, r"mm\.\.\.; give the same"),
    ],
)
def test_another_run_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    Journal.open(tmp_path, RUN).add(FOUR)
    with pytest.raises(UsageError, match=says):
        Journal.open(tmp_path, {**RUN, **change})
    assert Journal.open(tmp_path, RUN).trials == FOUR


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("photo.png", b"", "not empty and holds no evaluation"),
        ("run.json", b"{", "run.json' cannot be read"),
        ("run.json", b"[]", "run.json' cannot be read"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=says):
        Journal.open(tmp_path, RUN)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file; name a folder"):
        Journal.open(tmp_path / "file", RUN)
    with pytest.raises(OutputError, match="name another folder"):
        Journal.open(tmp_path / "file" / "below", RUN)


@pytest.mark.parametrize("line", [b"{}\n", b"[]\n", b"\xff\n", b'{"chosen": null, "odd": 1}\n'])
def test_damaged_trials(tmp_path: Path, line: bytes) -> None:
    Journal.open(tmp_path, RUN)
    (tmp_path / "trials.jsonl").write_bytes(line * 4)
    with pytest.raises(UsageError, match=r"trials.jsonl' is damaged; remove it"):
        Journal.open(tmp_path, RUN)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(tmp_path, RUN)
    journal.add(FOUR)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device; make room, then run the same again"):
        journal.add(NEXT)
    monkeypatch.undo()
    assert not journal.holds(1, "m", False)
    assert Journal.open(tmp_path, RUN).trials == FOUR
