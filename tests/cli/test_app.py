from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from cli.runner import COMMAND, Run, run

import slip.cli.app as cli
from slip.errors import ImageError, OutputError, UsageError, WeightsError

Outcome = tuple[int, str, str]


def outcome(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: BaseException
) -> Outcome:
    """What the command makes of an error: exit code, stdout, stderr."""

    def app(**options: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    return cli.run(), *capfd.readouterr()


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError("a\nb"), 2), (ImageError("a b"), 3), (OutputError("a  b"), 3), (WeightsError("a b"), 4)],
)
def test_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    assert outcome(monkeypatch, capfd, error) == (code, "", "slip: error: a b\n")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 9 GiB"),
        cv2.error(
            "(-4:Insufficient memory) Failed to allocate 90000000 bytes in function 'OutOfMemoryError'"
        ),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"
        ),
    ],
)
def test_out_of_memory(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    code, stdout, stderr = outcome(monkeypatch, capfd, error)
    assert (code, stdout) == (1, "")
    assert stderr.startswith("slip: error: out of memory")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("x")])
def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def app(**options: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(type(error)):
        cli.run()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_stderr_that_cannot_be_written_changes_no_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([COMMAND, "segment", "a.jpg", "x"], cwd=tmp_path, stderr=full, check=False)
    assert done.returncode == 3


@pytest.mark.skipif(os.name != "posix", reason="streams closed by a shell")
def test_closed_stdin_is_an_empty_one(tmp_path: Path) -> None:
    command = shlex.join([str(COMMAND), "segment", "-", "x", "-o", "."])
    done = subprocess.run(f"{command} <&-", shell=True, cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"is empty" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="paths of any bytes")
def test_doctor_shows_paths_of_any_bytes(tmp_path: Path) -> None:
    done = run("doctor", cwd=tmp_path, env={"SLIP_HOME": os.fsdecode(b"caf\xe9")})
    assert (done.code, done.stderr) == (0, "")
    assert b"SLIP_HOME\tcaf\xe9\n" in done.stdout


def assert_usage_error(done: Run, *words: str) -> None:
    assert (done.code, done.stdout) == (2, b"")
    assert done.stderr.startswith("slip: error: ")
    assert done.stderr.count("\n") == 1
    assert [word for word in words if word not in done.stderr] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], ["nonsense", "slip --help"]),
        (["segment"], ["IMAGE", "slip segment --help"]),
        (["segment", "a.png"], ["PROMPT"]),
        (["segment", "a.png", "x", "--nonsense"], ["--nonsense"]),
        (["segment", "a.png", "x", "--pred-iou-thresh", "1.5"], ["--pred-iou-thresh", "1"]),
        (["segment", "a.png", "x", "--top-k", "many"], ["--top-k"]),
        (["segment", "a.png", "x", "-o", "-", "--top-k", "2"], ["--top-k"]),
        (["segment", "-", "x"], ["standard input", "-o"]),
        (["masks", "-"], ["standard input", "-o"]),
        (["weights"], ["slip weights --help"]),
        (["weights", "fetch"], ["--preset"]),
        (["weights", "fetch", "nonsense"], ["nonsense", "slip weights list"]),
        (["weights", "where", "nonsense"], ["nonsense"]),
    ],
    ids=" ".join,
)
def test_usage_errors(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    assert_usage_error(run(*arguments, cwd=tmp_path), *words)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_result_is_refused_before_the_picture_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.overlay.png").write_bytes(b"precious")
    assert_usage_error(
        run("segment", "a.png", "x", "--overlay", cwd=tmp_path), "a.overlay.png", "--overwrite"
    )
    assert (tmp_path / "a.overlay.png").read_bytes() == b"precious"
    assert not (tmp_path / "a.mask.png").exists()
