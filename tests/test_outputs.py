from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slip.errors import OutputError, UsageError
from slip.masks import decode_rle, segment_of
from slip.outputs import (
    MIN_TEXT,
    check_outputs,
    cutout,
    index_picture,
    mask_picture,
    overlay,
    report,
    write_file,
)
from slip.types import Box, Prediction, Segment

RNG = np.random.default_rng(3)


def rectangle(x1: int, y1: int, x2: int, y2: int, image_size: tuple[int, int] = (60, 80)) -> Segment:
    return Segment(np.ones((y2 - y1, x2 - x1), bool), Box(x1, y1, x2, y2), image_size)


def noise(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_mask_picture_is_0_and_255() -> None:
    mask = RNG.random((20, 30)) < 0.5
    segment = segment_of(mask)
    assert segment
    picture = mask_picture(segment)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.where(mask, 255, 0))


def test_cutout_keeps_the_segment_and_nothing_else() -> None:
    image, mask = noise(20, 30), RNG.random((20, 30)) < 0.3
    segment = segment_of(mask)
    assert segment
    rgba = cutout(image, segment)
    assert rgba.shape == (20, 30, 4)
    np.testing.assert_array_equal(rgba[mask], np.column_stack([image[mask], np.full(mask.sum(), 255)]))
    assert not rgba[~mask].any()


@given(st.integers(0, 10**6), st.integers(0, 12))
@settings(max_examples=50)
def test_index_picture_draws_smaller_over_larger(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = [segment_of(rng.random((9, 11)) < rng.random()) for _ in range(count)]
    segments = [segment for segment in drawn if segment]
    picture = index_picture(segments, (9, 11))
    assert picture.dtype == np.uint8
    for y, x in np.ndindex(9, 11):
        here = [(s.area, i + 1) for i, s in enumerate(segments) if s.mask[y, x]]
        assert picture[y, x] == (min(here)[1] if here else 0)


@pytest.mark.parametrize(("count", "dtype"), [(0, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_index_picture_has_room_for_every_index(count: int, dtype: type) -> None:
    segments = [rectangle(i % 80, i // 80, i % 80 + 1, i // 80 + 1) for i in range(count)]
    picture = index_picture(segments, (60, 80))
    assert picture.dtype == dtype and picture.max() == count


def test_index_picture_refuses_more_than_it_can_count() -> None:
    with pytest.raises(UsageError, match="65536 segments"):
        index_picture([rectangle(0, 0, 1, 1)] * 65536, (60, 80))


def test_overlay_shows_the_segment_and_dims_the_rest() -> None:
    image = np.full((120, 160, 3), (90, 160, 220), np.uint8)
    segment = rectangle(40, 30, 120, 90, (120, 160))
    shown = overlay(image, segment).astype(int)
    assert shown.shape == image.shape and (image == (90, 160, 220)).all()
    inside, outside, edge = shown[60, 80], shown[5, 5], shown[60, 38:43]
    assert np.abs(inside - image[60, 80]).max() < 60
    assert outside.sum() < 0.6 * image[5, 5].sum()
    assert np.ptp(outside) < 0.4 * np.ptp(image[5, 5].astype(int))
    assert np.abs(edge - (255, 176, 0)).sum(axis=1).min() < 60


def test_the_outline_is_anti_aliased() -> None:
    y, x = np.mgrid[:200, :200]
    disc = segment_of((x - 100) ** 2 + (y - 100) ** 2 < 70**2)
    assert disc
    shown = overlay(np.zeros((200, 200, 3), np.uint8), disc)
    assert len(np.unique(shown[..., 0])) > 20


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 2)])
def test_overlay_of_the_smallest_pictures(size: tuple[int, int]) -> None:
    shown = overlay(np.zeros((*size, 3), np.uint8), rectangle(0, 0, 1, 1, size), "a prompt")
    assert shown.shape == (*size, 3)


def changed_by_caption(caption: str, segment: Segment) -> np.ndarray:
    image = np.zeros((*segment.image_size, 3), np.uint8)
    return (overlay(image, segment, caption) != overlay(image, segment)).any(axis=2)


@pytest.mark.parametrize("box", [(100, 100, 150, 150), (0, 0, 40, 40), (270, 10, 300, 200), (0, 0, 300, 200)])
def test_a_caption_is_written_whole_inside_the_picture(box: tuple[int, int, int, int]) -> None:
    changed = changed_by_caption("a small red bird 0.274", rectangle(*box, (200, 300)))
    assert changed.any()
    plate = segment_of(changed)
    assert plate and plate.box.height >= MIN_TEXT and plate.box.width > plate.box.height


def test_a_caption_shrinks_to_fit_or_is_left_out() -> None:
    segment = rectangle(100, 100, 150, 150, (200, 300))
    assert changed_by_caption("a rather long prompt of fifty letters, more or so", segment).any()
    for caption in ("", "  \n ", "word " * 200, "x" * 100_000, "\u732b", "\u043a\u043e\u0442"):
        assert not changed_by_caption(caption, segment).any()
    assert changed_by_caption("two\nlines", segment).any()


@pytest.mark.parametrize("make", [cutout, overlay])
def test_a_segment_of_another_picture_is_refused(make: object) -> None:
    with pytest.raises(UsageError, match=r"\(60, 80\), this one is \(61, 80\)"):
        make(noise(61, 80), rectangle(0, 0, 5, 5))  # type: ignore[operator]
    with pytest.raises(UsageError, match="another|of size"):
        index_picture([rectangle(0, 0, 5, 5)], (61, 80))


def prediction(*segments: Segment) -> Prediction:
    return Prediction("a cat", segments, (60, 80), {"propose": np.float64(1.5)})


def test_report_tells_the_best_and_the_runners_up() -> None:
    best = Segment(np.ones((2, 3), bool), Box(1, 2, 4, 4), (60, 80), np.float32(0.5), 0.75, np.float32(0.25))
    told = report(
        prediction(best, rectangle(0, 0, 5, 5).scored(0.125)),
        models={"sam": "tiny", "clip": "tiny"},
        options={"view": "black", "points": np.int64(16), "path": Path("x"), "limit": float("inf")},
    )
    assert told == {
        "prompt": "a cat",
        "image_size": [60, 80],
        "found": True,
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
