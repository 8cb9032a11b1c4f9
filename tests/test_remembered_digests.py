"""The SHA-256 of a file is had without reading it for as long as the file is as it was."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from time import time

import pytest

from slip import weights
from slip.errors import WeightsError
from slip.weights import SETTLED, digest_of, published


@pytest.fixture(autouse=True)
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read through."""
    read: list[Path] = []
    really = weights._sha256
    monkeypatch.setattr(weights, "_sha256", lambda path, *rest: (read.append(path), really(path, *rest))[1])
    monkeypatch.setenv("SLIP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SLIP_CACHE_SIZE", raising=False)
    return read


def write(path: Path, data: bytes, age: float = 10.0) -> Path:
    path.write_bytes(data)
    os.utime(path, (time() - age,) * 2)
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_read_once(tmp_path: Path, reads: list[Path]) -> None:
    path = write(tmp_path / "a.pt", b"weights")
    assert [digest_of(path) for _ in range(3)] == [sha256(b"weights")] * 3
    assert reads == [path]


def test_it_is_the_same_file_by_another_way(tmp_path: Path, reads: list[Path]) -> None:
    path, link = write(tmp_path / "a.pt", b"weights"), tmp_path / "link.pt"
    link.symlink_to(path)
    assert digest_of(path) == digest_of(link) == digest_of(tmp_path / "home" / ".." / "a.pt")
    assert reads == [path]


@pytest.mark.parametrize("same_times", [False, True])
def test_a_changed_file_is_read_again(tmp_path: Path, reads: list[Path], same_times: bool) -> None:
    path = write(tmp_path / "a.pt", b"weights")
    status = path.stat()
    digest_of(path)
    write(path, b"strange", age=5)
    if same_times:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest_of(path) == sha256(b"strange")
    assert len(reads) == 2


def test_another_file_in_its_place_is_read(tmp_path: Path, reads: list[Path]) -> None:
    path, other = write(tmp_path / "a.pt", b"weights"), write(tmp_path / "b.pt", b"strange")
    digest_of(path)
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert digest_of(path) == sha256(b"strange")


def test_a_file_that_just_changed_may_change_unseen(tmp_path: Path, reads: list[Path]) -> None:
    path = write(tmp_path / "a.pt", b"weights", age=SETTLED / 2)
    assert digest_of(path) == digest_of(path)
    assert len(reads) == 2


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.pt", b"weights")
    really = weights._sha256

    def overtaken(path: Path, stage: str, progress: object) -> str:
        digest = really(path, stage, None)
        write(path, b"changed", age=5)
        return digest

    monkeypatch.setattr(weights, "_sha256", overtaken)
    digest_of(path)
    monkeypatch.setattr(weights, "_sha256", really)
    assert digest_of(path) == sha256(b"changed")


def test_where_the_cache_is_off_it_is_read_each_time(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIP_CACHE_SIZE", "0")
    path = write(tmp_path / "a.pt", b"weights")
    assert digest_of(path) == digest_of(path) == sha256(b"weights")
    assert len(reads) == 2 and not (tmp_path / "home").exists()


def test_without_the_cache_it_is_read_each_time(tmp_path: Path, reads: list[Path]) -> None:
    path = write(tmp_path / "a.pt", b"weights")
    assert [digest_of(path, cached=False) for _ in range(2)] == [sha256(b"weights")] * 2
    assert len(reads) == 2 and not (tmp_path / "home").exists()


def test_what_may_be_opened_because_it_is_published_is_read_each_time(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = f"clip/x clip.pt - {sha256(b'weights')} MIT https://example.org/clip.pt"
    monkeypatch.setattr(weights, "catalogue", lambda: weights.parse(told))
    path = write(tmp_path / "a.pt", b"weights")
    for _ in range(2):
        entry = published(path)
        assert entry is not None and entry.name == "clip/x"
    assert published(write(tmp_path / "b.pt", b"strange")) is None
    assert len(reads) == 3


@pytest.mark.parametrize("wrong", ["missing.pt", "."])
def test_what_cannot_be_read_is_told(tmp_path: Path, wrong: str) -> None:
    for cached in (True, False):
        with pytest.raises(WeightsError, match="cannot read"):
            digest_of(tmp_path / wrong, cached=cached)
