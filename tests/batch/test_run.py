"""What a batch writes, and how it goes on after it was broken off."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from batch.colours import Colours, draw, drawing, files, rows, tasks_of, work_through

from slip.batch.job import Job, Sharing
from slip.batch.journal import Results
from slip.batch.labels import only_labelled
from slip.batch.plan import Wanted
from slip.batch.run import run
from slip.batch.sources import find_tasks
from slip.batch.work import process
from slip.errors import OutputError, UsageError, WeightsError
from slip.masks import Enlarged, decode_rle
from slip.pipeline.match import Label

BOTH = ["red", "blue"]


def test_a_batch(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red blue", sub__a="green")
    job = Job(tmp_path / "out", Wanted(overlay=True))
    segmenter, told = work_through(job, tasks_of(job, tmp_path / "in", prompts=BOTH))
    assert segmenter.asked == [("red", "blue")] * 2
    made = ["a.red.mask.png", "a.red.overlay.png"], ["a.blue.mask.png", "a.blue.overlay.png"]
    assert files(job.folder) == sorted([*made[0], *made[1], "results.jsonl"])
    assert [path.name for outcome in told for path in outcome.written] == [*made[0], *made[1]]
    lines = rows(job.folder)
    assert [(row["status"], row["files"]) for row in lines] == [
        ("found", made[0]),
        ("found", made[1]),
        ("no match", []),
        ("no match", []),
    ]
    assert {"box": [16, 4, 24, 16], "area": 96, "image_size": [20, 28], "error": None}.items() <= lines[
        1
    ].items()
    assert lines[1]["score"] > 0.9 > lines[2]["score"]
    mask = np.asarray(PIL.Image.open(job.folder / "a.blue.mask.png"))
    assert np.argwhere(mask).min(axis=0).tolist() == [4, 16]


def test_it_is_what_one_picture_after_the_other_gives(tmp_path: Path) -> None:
    draw(tmp_path / "in", **{f"p{i}": "red blue" if i % 2 else "green" for i in range(9)})
    wanted = Wanted(json=True, cutout=True, all_matches=True)
    whole, single = Job(tmp_path / "whole", wanted), Job(tmp_path / "single", wanted)
    work_through(whole, tasks_of(whole, tmp_path / "in", prompts=BOTH))
    single.folder.mkdir()
    lines = [
        json.loads(row.to_line())
        for task in tasks_of(single, tmp_path / "in", prompts=BOTH)
        for row in process(Colours(), task, single).rows
    ]
    assert [{**row, "seconds": 0} for row in rows(whole.folder)] == [{**row, "seconds": 0} for row in lines]
    names = files(single.folder)
    assert [*names, "results.jsonl"] == files(whole.folder)
    assert all((whole.folder / name).read_bytes() == (single.folder / name).read_bytes() for name in names)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", b="green")
    job = Job(tmp_path / "out")
    work_through(job, tasks_of(job, tmp_path / "in"))
    before = (job.folder / "results.jsonl").read_bytes()
    draw(tmp_path / "in", c="red blue")
    segmenter, _ = work_through(job, tasks_of(job, tmp_path / "in", prompts=BOTH))
    assert segmenter.asked == [("blue",), ("blue",), ("red", "blue")]
    after = (job.folder / "results.jsonl").read_bytes()
    assert after.startswith(before) and len(rows(job.folder)) == 6
    results = Results.open(job, tasks_of(job, tmp_path / "in", prompts=BOTH))
    assert (results.pending, dict(results.tally)) == ([], {"found": 3, "no match": 3})
    results.close()


def test_failures_are_rows_and_are_tried_again(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", c="red")
    (tmp_path / "in" / "b.png").write_bytes(drawing("red")[:-30])
    job = Job(tmp_path / "out")
    tasks = tasks_of(job, tmp_path / "in", tmp_path / "none.png", "*.nothing")
    _, told = work_through(job, tasks)
    assert [row["status"] for row in rows(job.folder)] == ["found", "failed", "found", "failed", "failed"]
    errors = [row["error"] for row in rows(job.folder) if row["error"]]
    for error, word in zip(errors, ("b.png' is damaged", "does not exist", "holds no pictures"), strict=True):
        assert word in error
    draw(tmp_path / "in", b="red")
    segmenter, _ = work_through(job, tasks)
    assert len(segmenter.asked) == 1
    names = [Path(row["image"]).name for row in rows(job.folder)]
    assert names == ["a.png", "c.png", "b.png", "none.png", "*.nothing"]


def test_a_file_that_is_gone_is_made_again(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", b="red")
    job = Job(tmp_path / "out")
    tasks = tasks_of(job, tmp_path / "in")
    work_through(job, tasks)
    (job.folder / "a.red.mask.png").unlink()
    segmenter, _ = work_through(job, tasks)
    assert len(segmenter.asked) == 1
    assert [Path(row["image"]).name for row in rows(job.folder)] == ["b.png", "a.png"]


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_a_line_that_was_cut_off(tmp_path: Path, cut: int) -> None:
    draw(tmp_path / "in", a="red", b="red")
    job = Job(tmp_path / "out", Wanted(json=True))
    tasks = tasks_of(job, tmp_path / "in")
    work_through(job, tasks)
    path = job.folder / "results.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:cut])
    segmenter, told = work_through(job, tasks)
    assert len(segmenter.asked) == 1
    assert [{**row, "seconds": 0} for row in rows(job.folder)] == [
        {**json.loads(line), "seconds": 0} for line in (first, second)
    ]
    assert [path.name for outcome in told for path in outcome.written] == ["b.red.mask.png", "b.red.json"]


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", b="red")
    job = Job(tmp_path / "out")
    job.folder.mkdir()
    (job.folder / "a.red.mask.png").write_bytes(b"mine")
    tasks = tasks_of(job, tmp_path / "in")
    work_through(job, tasks)
    assert [row["status"] for row in rows(job.folder)] == ["failed", "found"]
    assert "exists; replace it with --overwrite" in rows(job.folder)[0]["error"]
    assert (job.folder / "a.red.mask.png").read_bytes() == b"mine"
    draw(tmp_path / "in", c="red")
    (job.folder / "c.red.mask.png").write_bytes(b"mine")
    segmenter, _ = work_through(job, tasks_of(job, tmp_path / "in"), "skip")
    assert [row["status"] for row in rows(job.folder)] == ["found", "failed"]
    assert len(segmenter.asked) == 1
    work_through(replace(job, overwrite=True), tasks, "overwrite")
    assert [row["status"] for row in rows(job.folder)] == ["found", "found"]


def test_other_settings(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", b="blue")
    job = Job(tmp_path / "out")
    tasks = tasks_of(job, tmp_path / "in")
    work_through(job, tasks[:1])
    other = replace(job, wanted=Wanted(overlay=True))
    with pytest.raises(UsageError, match="other settings; keep them with --skip-existing"):
        Results.open(other, tasks)
    with pytest.raises(UsageError, match="other settings"):
        Results.open(replace(job, settings={"view": "blur"}), tasks[1:])
    segmenter, _ = work_through(other, tasks, "skip")
    assert len(segmenter.asked) == 1
    segmenter, _ = work_through(replace(other, overwrite=True), tasks, "overwrite")
    assert len(segmenter.asked) == 2 and len(rows(job.folder)) == 2


@pytest.mark.parametrize("line", [b"{}\n", b"[]\n", b"\xff\n", b"\n", b'{"image": 1}\n'])
def test_other_files_of_that_name(tmp_path: Path, line: bytes) -> None:
    draw(tmp_path / "in", a="red")
    job = Job(tmp_path / "out")
    job.folder.mkdir()
    (job.folder / "results.jsonl").write_bytes(line)
    tasks = tasks_of(job, tmp_path / "in")
    for existing in ("resume", "skip"):
        with pytest.raises(UsageError, match=r"line 1 of .* is no result of slip segment; start anew"):
            Results.open(job, tasks, existing)
    assert (job.folder / "results.jsonl").read_bytes() == line


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red")
    job = Job(tmp_path / "out")
    first = Results.open(job, tasks_of(job, tmp_path / "in"))
    with pytest.raises(UsageError, match="another run writes to"):
        Results.open(job, tasks_of(job, tmp_path / "in"))
    first.close()
    Results.open(job, tasks_of(job, tmp_path / "in")).close()


def test_no_folder(tmp_path: Path) -> None:
    draw(tmp_path, a="red")
    for name in ("a.png", "a.png/below"):
        job = Job(tmp_path / name)
        with pytest.raises((UsageError, OutputError), match="with -o"):
            Results.open(job, tasks_of(job, tmp_path / "a.png"))


def test_fail_fast(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", c="red", d="red")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    job = Job(tmp_path / "out")
    work_through(job, tasks_of(job, tmp_path / "in"), fail_fast=True)
    assert [row["status"] for row in rows(job.folder)] == ["found", "failed"]
    (job.folder / "c.red.mask.png").write_bytes(b"mine")
    draw(tmp_path / "in", b="red", **{f"e{i}": "red" for i in range(9)})
    segmenter, _ = work_through(job, tasks_of(job, tmp_path / "in"), fail_fast=True)
    assert [row["status"] for row in rows(job.folder)] == ["found", "found", "failed"]
    assert len(segmenter.asked) == 2, "nothing is searched after what could not be written"


def test_fail_fast_after_a_search(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", b="red", c="red")

    class Small(Colours):
        def segment_each(self, image, prompts):
            super().segment_each(image, prompts)
            raise MemoryError

    job, small = Job(tmp_path / "out"), Small()
    results = Results.open(job, tasks_of(job, tmp_path / "in"))
    run(results.pending, small, job, results, lambda _: None, fail_fast=True)
    results.close()
    assert [row["status"] for row in rows(job.folder)] == ["failed"]
    assert len(small.asked) == 1


def test_errors_end_it_cleanly(tmp_path: Path) -> None:
    draw(tmp_path / "in", **{f"p{i}": "red" for i in range(9)})

    class Dying(Colours):
        def __init__(self, error: BaseException) -> None:
            super().__init__()
            self.error = error

        def segment_each(self, image, prompts):
            if len(self.asked) == 3:
                raise self.error
            return super().segment_each(image, prompts)

    before = threading.active_count()
    for name, error in (("a", WeightsError("gone")), ("b", KeyboardInterrupt()), ("c", KeyError("bug"))):
        job = Job(tmp_path / name)
        tasks = tasks_of(job, tmp_path / "in")
        results = Results.open(job, tasks)
        with pytest.raises(type(error)):
            run(results.pending, Dying(error), job, results, lambda _: None)
        results.close()
        assert len(rows(job.folder)) == 3
        assert threading.active_count() == before
        assert len(work_through(job, tasks)[0].asked) == 6


def test_out_of_memory_is_told_of_the_picture(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red", b="red")

    class Small(Colours):
        def segment_each(self, image, prompts):
            found = super().segment_each(image, prompts)
            if len(self.asked) == 1:
                raise MemoryError
            return found

    job = Job(tmp_path / "out")
    results = Results.open(job, tasks_of(job, tmp_path / "in"))
    run(results.pending, Small(), job, results, lambda _: None)
    results.close()
    first, second = rows(job.folder)
    assert "out of memory; try" in first["error"]
    assert second["status"] == "found"


@pytest.mark.parametrize("sharing", [None, "label-all"])
def test_out_of_memory_after_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharing: Sharing | None
) -> None:
    draw(tmp_path / "in", a="red blue")
    job = Job(tmp_path / "out", Wanted(masks=False), sharing)
    tasks = tasks_of(job, tmp_path / "in", prompts=BOTH)

    def too_large(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("slip.batch.work.describe", too_large)
        work_through(job, tasks)
    assert ["out of memory" in row["error"] for row in rows(job.folder)] == [True, True]
    work_through(job, tasks)
    assert [row["status"] for row in rows(job.folder)] == ["found", "found"]


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    draw(tmp_path / "in", **{f"p{i}": "red" for i in range(5)})
    job = Job(tmp_path / "out")
    results = Results.open(job, tasks_of(job, tmp_path / "in"))

    def take_away(_: object) -> None:
        job.folder.rename(tmp_path / "elsewhere")

    with pytest.raises(OutputError, match="is gone; run the same again"):
        run(results.pending, Colours(), job, results, take_away)
    results.close()
    assert not job.folder.exists()
    assert len(rows(tmp_path / "elsewhere")) == 1


def test_each_prompt_its_own_segment(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red blue")
    job = Job(tmp_path / "out", sharing="one-to-one", settings={"min_score": 0})
    always = Colours()
    always.slip = type(always.slip)(always.slip.proposer, always.slip.encoder)
    (task,) = tasks_of(job, tmp_path / "in", prompts=["red", "a red thing"])
    results = Results.open(job, [task])
    run(results.pending, always, job, results, lambda _: None)
    results.close()
    assert sorted(row["box"] for row in rows(job.folder)) == [[4, 4, 12, 16], [16, 4, 24, 16]]
    first = rows(job.folder)[0]
    (job.folder / first["files"][0]).unlink()
    assert work_through(job, [task])[0].asked == [("red", "a red thing")]


def test_every_segment_its_prompt(tmp_path: Path) -> None:
    draw(tmp_path / "in", a="red blue green", b="green")
    job = Job(tmp_path / "out", sharing="label-all")
    _, told = work_through(job, tasks_of(job, tmp_path / "in", prompts=BOTH))
    made = ["a.labels.json", "a.labels.png", "b.labels.json", "b.labels.png"]
    assert files(job.folder) == [*made, "results.jsonl"]
    assert [path.name for path in told[0].written] == ["a.labels.png", "a.labels.json"]
    report = json.loads((job.folder / "a.labels.json").read_text())
    index = np.asarray(PIL.Image.open(job.folder / "a.labels.png"))
    assert sorted(str(told["prompt"]) for told in report["segments"]) == ["None", "blue", "red"]
    for number, segment in enumerate(report["segments"], 1):
        assert np.array_equal(index == number, decode_rle(segment["rle"]))
    assert [row["status"] for row in rows(job.folder)] == ["found", "found", "no match", "no match"]
    nothing = rows(job.folder)[2]
    assert (nothing["box"], nothing["files"]) == ([4, 4, 12, 16], ["b.labels.png", "b.labels.json"])
    assert 0 <= nothing["score"] < 0.9


def test_labels_keep_segments_reduced() -> None:
    small = Colours().segment(np.asarray(PIL.Image.open(io.BytesIO(drawing("red", "blue")))), "red")
    large = replace(small, segments=Enlarged(small.segments, (60, 84)), image_size=(60, 84))
    named = only_labelled(large, [Label(place, "red" if place else None, 0.5) for place in (0, 1)])
    assert isinstance(named.segments, Enlarged)
    assert [segment.image_size for segment in named.segments.reduced] == [(20, 28)]
    (place,) = (place for place, index in enumerate(large.order) if index == 1)
    assert np.array_equal(named.segments[0].mask, large.segments[place].mask)
    assert (named.scores, named.odds) == ((large.scores[place],), (large.odds[place],))


def test_memory_holds_a_few_pictures(tmp_path: Path) -> None:
    draw(tmp_path / "in", **{f"p{i}": "red" for i in range(12)})
    job = Job(tmp_path / "out")
    gate, most = threading.Event(), 0

    class Watched(Colours):
        def segment_each(self, image, prompts):
            nonlocal most
            most = max(most, len(self.asked) - len(told))
            if len(self.asked) > 3:
                gate.set()
            return super().segment_each(image, prompts)

    told: list[object] = []

    def slow(outcome: object) -> None:
        gate.wait(0.2)
        told.append(outcome)

    results = Results.open(job, tasks_of(job, tmp_path / "in"))
    run(results.pending, Watched(), job, results, slow)
    results.close()
    assert len(told) == 12
    assert most <= 2


def test_standard_input_is_a_picture(tmp_path: Path) -> None:
    job = Job(tmp_path / "out")
    tasks = find_tasks(["-", "-"], ["red"], output=job.folder, stdin=drawing("red"))
    work_through(job, tasks)
    assert files(job.folder) == ["results.jsonl", "stdin.red.mask.png"]
    assert work_through(job, tasks)[0].asked == []
    work_through(job, find_tasks(["-"], ["red"], output=job.folder, stdin=drawing("blue", "red")))
    assert "exists; replace it with --overwrite" in rows(job.folder)[0]["error"]
