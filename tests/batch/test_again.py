"""Whose files are replaced when a batch is done again, and whose are not."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from batch.colours import Colours, draw, drawing, files, rows, tasks_of, work_through

from slip.batch.coco import write_coco
from slip.batch.job import Job
from slip.batch.journal import Results
from slip.batch.plan import Wanted
from slip.batch.run import run
from slip.errors import UsageError


def masks(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder) if name.endswith("mask.png")}


def test_a_picture_that_has_changed(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", b="blue", c="red", d="red")
    job = Job(tmp_path / "out")
    tasks = tasks_of(job, tmp_path / "in")
    work_through(job, tasks)
    before = masks(job.folder)
    draw(tmp_path / "in", a="blue red", b="blue red")
    os.utime(tmp_path / "in" / "c.png", (0, 0))
    segmenter, _ = work_through(job, tasks)
    assert len(segmenter.asked) == 3
    assert [Path(row["image"]).name for row in rows(job.folder)] == ["d.png", "a.png", "b.png", "c.png"]
    assert {row["status"] for row in rows(job.folder)} == {"found"}
    after = masks(job.folder)
    assert [name for name in before if before[name] != after[name]] == ["a.red.mask.png"]
    assert work_through(job, tasks)[0].asked == []


def test_a_changed_picture_of_a_run_that_was_killed(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red")
    job = Job(tmp_path / "out")
    tasks = tasks_of(job, tmp_path / "in")
    work_through(job, tasks)
    draw(tmp_path / "in", a="blue red")
    Results.open(job, tasks).close()
    work_through(job, tasks)
    assert [row["status"] for row in rows(job.folder)] == ["found"]


def test_a_changed_picture_that_had_failed(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red")
    job = Job(tmp_path / "out", Wanted(overlay=True))
    job.folder.mkdir()
    (job.folder / "a.red.overlay.png").write_bytes(b"mine")
    tasks = tasks_of(job, tmp_path / "in")
    work_through(job, tasks)
    (failed,) = rows(job.folder)
    assert (failed["status"], failed["files"]) == ("failed", ["a.red.mask.png"])
    assert failed["state"] == tasks[0].state() is not None
    draw(tmp_path / "in", a="blue red")
    (job.folder / "a.red.overlay.png").unlink()
    work_through(job, tasks)
    assert [row["status"] for row in rows(job.folder)] == ["found"]


def test_only_what_is_named_inside_is_removed(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", b="red")
    job = Job(tmp_path / "out")
    tasks = tasks_of(job, tmp_path / "in")
    work_through(job, tasks)
    (tmp_path / "mine").write_bytes(b"mine")
    first, second = rows(job.folder)
    first["files"] += ["../mine", str(tmp_path / "mine"), *second["files"]]
    lines = "".join(json.dumps(row) + "\n" for row in (first, second))
    (job.folder / "results.jsonl").write_text(lines)
    draw(tmp_path / "in", a="blue red")
    Results.open(job, tasks).close()
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert list(masks(job.folder)) == ["b.red.mask.png"]


def test_overwriting_goes_on_without_the_option(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", b="red", c="red")
    job = Job(tmp_path / "out")
    tasks = tasks_of(job, tmp_path / "in")
    work_through(job, tasks)
    (job.folder / "other.red.mask.png").write_bytes(b"mine")
    draw(tmp_path / "in", a="blue red", b="blue red", c="blue red")
    other = replace(job, wanted=Wanted(json=True))
    overwriting = replace(other, overwrite=True)
    results = Results.open(overwriting, tasks, "overwrite")
    run(results.pending[:1], Colours(), overwriting, results, lambda _: None)
    results.close()
    assert [row["status"] for row in rows(job.folder)] == ["found"]
    segmenter, _ = work_through(other, tasks)
    assert len(segmenter.asked) == 2
    assert [row["status"] for row in rows(job.folder)] == ["found"] * 3
    assert (job.folder / "other.red.mask.png").read_bytes() == b"mine"


def test_more_megapixels_are_no_other_settings(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", b="red blue green")
    small = Job(tmp_path / "out", max_megapixels=0.0005)
    tasks = tasks_of(small, tmp_path / "in")
    work_through(small, tasks)
    assert [row["status"] for row in rows(small.folder)] == ["found", "failed"]
    segmenter, _ = work_through(Job(small.folder), tasks)
    assert [row["status"] for row in rows(small.folder)] == ["found"] * 2
    assert len(segmenter.asked) == 1


def test_failures_of_other_settings(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    job = Job(tmp_path / "out")
    tasks = tasks_of(job, tmp_path / "a.png")
    work_through(job, tasks)
    draw(tmp_path, a="red")
    work_through(replace(job, wanted=Wanted(overlay=True)), tasks)
    assert [row["status"] for row in rows(job.folder)] == ["found"]


def test_another_picture_of_that_name_is_not_skipped(tmp_path: Path) -> None:
    draw(tmp_path, a__x="red", b__x="blue red", b__y="red")
    job = Job(tmp_path / "out")
    work_through(job, tasks_of(job, tmp_path / "a"))
    (job.folder / "y.red.mask.png").write_bytes(b"mine")
    tasks = tasks_of(job, tmp_path / "b")
    results = Results.open(job, tasks, "skip")
    assert [task.image for task in results.pending] == [str(tmp_path / "b" / "x.png")]
    assert (results.by_name, dict(results.tally)) == (1, {"found": 1})
    results.close()
    work_through(job, tasks, "skip")
    first, second = rows(job.folder)
    assert (first["status"], second["status"]) == ("found", "failed")
    assert "exists; replace it with --overwrite" in second["error"]


def test_pictures_are_not_replaced(tmp_path: Path) -> None:
    folder = draw(tmp_path / "out", a="red", b="red blue")
    for name in ("a.red.mask.png", "b.red.mask.2.png"):
        (folder / name).write_bytes(drawing("red"))
    (folder / "b.red.mask.png").write_bytes(b"of another search")
    job = Job(folder, overwrite=True)
    names = ("a.png", "b.png", "a.red.mask.png", "b.red.mask.2.png")
    tasks = tasks_of(job, *(folder / name for name in names))
    for _ in range(2):
        work_through(job, tasks, "overwrite")
        assert (folder / "a.red.mask.png").read_bytes() == drawing("red")
        assert (folder / "b.red.mask.2.png").read_bytes() == drawing("red")
        first, second, *_ = rows(folder)
        assert (first["status"], second["status"]) == ("failed", "found")
        assert "is a picture of this batch; name another folder with -o" in first["error"]


def test_masks_of_an_earlier_search_go(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red")
    job = Job(tmp_path / "out", overwrite=True)
    job.folder.mkdir()
    others = ["a.red.mask.x.png", "a.red.notes.png", "a.redder.mask.png"]
    for name in ("a.red.mask.png", "a.red.mask.2.png", "a.red.mask.3.png", *others):
        (job.folder / name).write_bytes(b"of another search")
    work_through(job, tasks_of(job, tmp_path / "in"), "overwrite")
    assert files(job.folder) == ["a.red.mask.png", *others, "results.jsonl"]


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(masks=False)], ids=["masks", "coco"])
def test_a_picture_by_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Wanted) -> None:
    monkeypatch.chdir(draw(tmp_path, in__a="red", in__b="red"))
    job = Job(Path("out"), wanted)
    work_through(job, tasks_of(job, "in"))
    segmenter, _ = work_through(job, tasks_of(job, tmp_path / "in"))
    assert (segmenter.asked, len(rows(job.folder))) == ([], 2)
    draw(tmp_path, in__a="blue red")
    work_through(job, tasks_of(job, tmp_path / "in", prompts=["red", "blue"]))
    assert [row["status"] for row in rows(job.folder)] == ["found", "found", "found", "no match"]
    write_coco(job.folder / "results.jsonl", job.folder / "coco.json")
    told = json.loads((job.folder / "coco.json").read_text())
    assert len(told["images"]) == (0 if wanted.masks else 2)


def test_a_folder_that_is_no_folder_of_results(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red")
    job = Job(tmp_path / "out", overwrite=True)
    job.folder.mkdir()
    (job.folder / "results.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(UsageError, match="is no result of slip segment"):
        Results.open(job, tasks_of(job, tmp_path / "in"))
    work_through(job, tasks_of(job, tmp_path / "in"), "overwrite")
    assert [row["status"] for row in rows(job.folder)] == ["found"]
