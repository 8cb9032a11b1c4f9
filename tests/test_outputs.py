from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slip.errors import OutputError, UsageError
from slip.masks import decode_rle
from slip.outputs import (
    append_file,
    check_outputs,
    report,
    to_json,
    write_file,
    write_files,
)
from slip.types import Box, Prediction, Segment

RNG = np.random.default_rng(3)


def rectangle(x1: int, y1: int, x2: int, y2: int, image_size: tuple[int, int] = (60, 80)) -> Segment:
    return Segment(np.ones((y2 - y1, x2 - x1), bool), Box(x1, y1, x2, y2), image_size)


def noise(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def prediction(*segments: Segment) -> Prediction:
    return Prediction("a cat", segments, (60, 80), {"propose": np.float64(1.5)})


def test_report_tells_the_best_and_the_runners_up() -> None:
    best = Segment(np.ones((2, 3), bool), Box(1, 2, 4, 4), (60, 80), np.float32(0.5), 0.75, np.float32(0.25))
    next_best = replace(rectangle(0, 0, 5, 5), predicted_iou=1.0, stability=1.0, score=0.125)
    told = report(
        prediction(best, next_best),
        models={"sam": "tiny", "clip": "tiny"},
        options={"view": "black", "points": np.int64(16), "path": Path("x"), "limit": float("inf")},
    )
    assert told == {
        "prompt": "a cat",
        "image_size": [60, 80],
        "found": True,
        "min_score": 0.0,
        "box": [1, 2, 4, 4],
        "area": 6,
        "score": 0.25,
        "predicted_iou": 0.5,
        "stability": 0.75,
        "runners_up": [
            {"box": [0, 0, 5, 5], "area": 25, "score": 0.125, "predicted_iou": 1.0, "stability": 1.0}
        ],
        "timings": {"propose": 1.5},
        "models": {"sam": "tiny", "clip": "tiny"},
        "options": {"view": "black", "points": 16, "path": "x", "limit": None},
    }
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_what_nobody_estimated_is_left_out() -> None:
    told = report(prediction(rectangle(0, 0, 5, 5).scored(0.125)), models={}, options={})
    assert told["found"] is True and told["score"] == 0.125
    assert not {"predicted_iou", "stability"} & set(told)


def test_report_of_nothing_found() -> None:
    told = report(prediction(), models={}, options={}, all_segments=True)
    assert told["found"] is False and told["runners_up"] == []
    assert all(told[key] is None for key in ("box", "area", "score", "predicted_iou", "stability", "rle"))


def test_report_of_all_segments_holds_their_masks() -> None:
    segments = rectangle(0, 0, 5, 5).scored(float("nan")), rectangle(3, 4, 9, 9)
    told = report(prediction(*segments), models={}, options={}, all_segments=True)
    assert told["score"] is None
    json.dumps(told, allow_nan=False)
    for segment, fields in zip(segments, (told, *told["runners_up"]), strict=True):
        np.testing.assert_array_equal(decode_rle(fields["rle"]), segment.mask)


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_and_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    write_file(path, b"one", overwrite=False)
    with pytest.raises(UsageError, match="out.bin' exists; .*--overwrite"):
        write_file(path, b"two", overwrite=False)
    assert path.read_bytes() == b"one"
    write_file(path, b"two", overwrite=True)
    assert path.read_bytes() == b"two" and only(tmp_path) == ["out.bin"]


@pytest.mark.skipif(os.name == "nt", reason="modes and links of POSIX")
def test_a_file_has_the_usual_mode_and_links_are_followed(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "a", b"1", overwrite=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    (tmp_path / "link").symlink_to("a")
    write_file(tmp_path / "link", b"2", overwrite=True)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "a").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EROFS, "no permission"),
        (errno.EACCES, "no permission"),
        (errno.EIO, ""),
    ],
)
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: str, overwrite: bool
) -> None:
    path = tmp_path / "out.bin"
    if overwrite:
        path.write_bytes(b"old")

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=f"{expected}.*out.bin") as caught:
        write_file(path, b"new", overwrite=overwrite)
    assert "\n" not in str(caught.value)
    assert only(tmp_path) == (["out.bin"] if overwrite else [])
    assert not overwrite or path.read_bytes() == b"old"


@pytest.mark.parametrize("moment", ["fsync", "link", "replace"])
def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "out.bin"

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*((Path, "replace") if moment == "replace" else (os, moment)), interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(path, b"new", overwrite=moment == "replace")
    assert only(tmp_path) == []


def without_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("hard_links", [True, False])
def test_of_many_writers_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool) -> None:
    if not hard_links:
        without_hard_links(monkeypatch)
    path, won, start = tmp_path / "out.bin", [], threading.Barrier(8)

    def write(data: bytes) -> None:
        start.wait()
        try:
            write_file(path, data, overwrite=False)
        except UsageError:
            return
        won.append(data)

    threads = [threading.Thread(target=write, args=(bytes([i]) * 1000,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [path.read_bytes()] and only(tmp_path) == ["out.bin"]


def test_without_hard_links_a_failed_rename_gives_the_name_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_hard_links(monkeypatch)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "out.bin", b"new", overwrite=False)
    assert only(tmp_path) == []


@pytest.mark.parametrize("overwrite", [True, False])
def test_places_where_no_file_can_be(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    places = {
        tmp_path / "folder": "is a folder",
        tmp_path / "absent" / "x": "folder does not exist",
        tmp_path / "file" / "x": "folder does not exist",
        tmp_path / ("x" * 5000): "cannot write",
        Path(os.devnull): "a device or a pipe",
    }
    for path, expected in places.items():
        for attempt in (
            lambda path=path: write_file(path, b"", overwrite=overwrite),
            lambda path=path: check_outputs([path], overwrite=overwrite),
        ):
            with pytest.raises(OutputError, match=expected) as caught:
                attempt()
            assert "\n" not in str(caught.value)
    assert only(tmp_path) == ["file", "folder"]


def test_check_outputs_refuses_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, new = tmp_path / "there.png", tmp_path / "new.png"
    there.touch()
    check_outputs([new, tmp_path / "other.png"], overwrite=False)
    check_outputs([there, new], overwrite=True)
    with pytest.raises(UsageError, match="there.png' exists.*--overwrite"):
        check_outputs([new, there], overwrite=False)
    (tmp_path / "sub").mkdir()
    with pytest.raises(UsageError, match="named for two outputs"):
        check_outputs([new, tmp_path / "sub" / ".." / "new.png"], overwrite=True)
    assert only(tmp_path) == ["sub", "there.png"]
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="no permission to write"):
        check_outputs([new], overwrite=False)


def test_json_takes_any_text() -> None:
    assert to_json({"prompt": "rød \udcff"}) == '{\n  "prompt": "rød \\udcff"\n}\n'.encode()


def test_only_what_is_replaced_is_removed(tmp_path: Path) -> None:
    old, new = tmp_path / "old.png", tmp_path / "new.png"
    old.write_bytes(b"old")
    assert write_files([(new, b"1")], [old, new], overwrite=False) == [new]
    assert old.read_bytes() == b"old"
    assert write_files([(new, b"2")], [old, new, tmp_path / "none.png"], overwrite=True) == [new]
    assert [path.name for path in tmp_path.iterdir()] == ["new.png"]


def test_pieces_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def pieces(good: bool) -> Iterator[bytes]:
        yield b"one"
        if not good:
            raise UsageError("no more")
        yield b"two"

    path = tmp_path / "a"
    with pytest.raises(UsageError):
        write_file(path, pieces(False), overwrite=False)
    assert list(tmp_path.iterdir()) == []
    write_file(path, pieces(True), overwrite=False)
    assert path.read_bytes() == b"onetwo"


def test_files_with_the_same_bytes_may_count_as_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    before = path.stat().st_ino
    assert write_files([(path, b"1")], overwrite=False, equal_is_ours=True) == [path]
    assert path.stat().st_ino == before
    for contents, ours in ((b"1", False), (b"2", True)):
        with pytest.raises(UsageError, match="exists"):
            write_files([(path, contents)], overwrite=False, equal_is_ours=ours)


def test_appended_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    append_file(path, b"one\n")
    append_file(path, b"two\n")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device; make room, then run the same again"):
        append_file(path, b"three\n")
    assert path.read_bytes() == b"one\ntwo\n"
    with pytest.raises(OutputError, match="cannot write"):
        append_file(tmp_path / "none" / "a", b"")
