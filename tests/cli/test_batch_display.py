from __future__ import annotations

import itertools
import os
from pathlib import Path

import bad_files as bad
import pytest
from cli.runner import CAN_FORK, run_warm

from slip.cli import batch_display, console
from slip.cli.batch_display import pace


@pytest.mark.parametrize(
    ("done", "seconds", "told"),
    [
        (12, 4, "12/1000 pictures, 3.0 pictures/s, 5 min 29 s left"),
        (1, 135, "1/1000 pictures, 135.0 s a picture, 37 h 27 min 45 s left"),
        (1000, 90, "1000/1000 pictures, 11.1 pictures/s, 0 s left"),
    ],
)
def test_pace(done: int, seconds: float, told: str) -> None:
    assert pace(done, 1000, seconds) == told


def test_a_log_hears_of_pictures_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(0, 4)  # each look at it takes 4 s
    for module in (console, batch_display):
        monkeypatch.setattr(module, "monotonic", lambda: next(clock))
    with batch_display.batch_display() as display:
        display.begin()
        for done in range(1, 4):
            display.show(done, 10, f"{done}.png: 'x\x1b' found")
    assert capsys.readouterr().err.splitlines() == [
        "slip: 1/10 pictures, 4.0 s a picture, 36 s left; last 1.png: 'x\\x1b' found",
        "slip: 3/10 pictures, 8.0 s a picture, 56 s left; last 3.png: 'x\\x1b' found",
    ]


def on_a_terminal() -> None:
    """Standard output and error become one terminal, whose screen goes to a file."""
    import pty
    import threading

    ours, theirs = pty.openpty()
    for stream in (1, 2):
        os.dup2(theirs, stream)

    def copy() -> None:
        with Path("screen").open("ab", buffering=0) as file:
            while True:
                file.write(os.read(ours, 4096))

    threading.Thread(target=copy, daemon=True).start()
    os.environ |= {"TERM": "xterm", "COLUMNS": "200"}


@pytest.mark.skipif(not CAN_FORK, reason="terminals of POSIX")
def test_on_a_terminal(tmp_path: Path, tiny_models: list[str]) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        (tmp_path / "in" / f"{number}.png").write_bytes(bad.picture())
    fast = ["--pred-iou-thresh", "0", "--stability-thresh", "0", "--points-per-side", "2"]
    wanted = ["segment", "in", "x", "-o", "out", *tiny_models, *fast]
    done = run_warm(*wanted, cwd=tmp_path, prepare=on_a_terminal)
    screen = (tmp_path / "screen").read_text()
    assert done.code == 0, screen
    assert "/4 pictures, " in screen and "last in/" in screen
    lines = [line.rpartition("\x1b[2K")[2] for line in screen.splitlines()]
    paths = [f"out/{number}.x.mask.png" for number in range(4)]
    assert [line for line in lines if line.endswith(".mask.png")] == paths, "each alone on its line"
