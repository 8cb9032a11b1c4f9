from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli.runner import run

from slip.cache import LIMIT, Cache
from slip.cli import app, console

KEYS = ["ab" * 32, "cd" * 32]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """That of commands in ``tmp_path``, with two entries."""
    held = Cache(tmp_path / "no-cache" / "cache")
    for key in KEYS:
        held.put("segments", key, {"noise": np.random.default_rng(0).integers(0, 256, 700_000, np.uint8)})
    return held


def test_info_is_a_table_for_programs(tmp_path: Path, cache: Cache) -> None:
    done = run("cache", "info", cwd=tmp_path, env={"SLIP_CACHE_SIZE": ""})
    assert (done.code, done.stderr) == (0, "")
    assert [line.split("\t") for line in done.lines] == [
        ["what", "state"],
        ["folder", str(cache.folder)],
        ["limit", console.megabytes(LIMIT)],
        ["size", "1.4 MB"],
        ["segments", "2 entries, 1.4 MB"],
        ["crops", "0 entries, 0.0 MB"],
        ["texts", "0 entries, 0.0 MB"],
        ["digests", "0 entries, 0.0 MB"],
    ]


def test_clear_says_how_much_it_removed(tmp_path: Path, cache: Cache) -> None:
    done = run("cache", "clear", cwd=tmp_path)
    assert (done.code, done.stdout, done.stderr) == (0, b"", "slip: removed 2 entries, 1.4 MB\n")
    assert cache.get("segments", KEYS[0]) is None
    again = run("cache", "clear", cwd=tmp_path)
    assert (again.code, again.stderr) == (0, "slip: removed 0 entries, 0.0 MB\n")


def test_clear_leaves_weights(tmp_path: Path, cache: Cache) -> None:
    kept = tmp_path / "no-cache" / "weights" / "sam.pth"
    kept.parent.mkdir()
    kept.write_bytes(b"weights")
    run("cache", "clear", cwd=tmp_path)
    assert kept.read_bytes() == b"weights"


def test_a_cache_that_is_switched_off_can_be_seen_and_cleared(tmp_path: Path, cache: Cache) -> None:
    off = {"SLIP_CACHE_SIZE": "0"}
    assert "limit\t0: nothing is kept" in run("cache", "info", cwd=tmp_path, env=off).lines
    assert "removed 2 entries" in run("cache", "clear", cwd=tmp_path, env=off).stderr


@pytest.mark.parametrize("action", ["info", "clear"])
def test_a_limit_that_is_no_size_is_one_line(tmp_path: Path, action: str) -> None:
    done = run("cache", action, cwd=tmp_path, env={"SLIP_CACHE_SIZE": "lots"})
    assert (done.code, done.stdout, done.stderr.count("\n")) == (2, b"", 1)
    assert "SLIP_CACHE_SIZE cannot be 'lots'" in done.stderr


def test_info_and_clear_within_the_process(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIP_HOME", str(tmp_path / "no-cache"))
    monkeypatch.setattr("sys.argv", ["slip", "cache", "info"])
    assert app.run() == 0
    assert "segments\t2 entries, 1.4 MB\n" in capfd.readouterr().out
    monkeypatch.setattr("sys.argv", ["slip", "cache", "clear"])
    assert app.run() == 0
    assert capfd.readouterr().err == "slip: removed 2 entries, 1.4 MB\n"
    assert set(cache.info().values()) == {cache.info()["texts"]}


def test_without_an_action_it_shows_its_help(tmp_path: Path) -> None:
    done = run("cache", cwd=tmp_path)
    assert (done.code, done.stdout) == (2, b"") and "slip cache --help" in done.stderr
