"""A training as it is shown: on a terminal, in a log, and by one of several processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from training.shapes import Shapes

from slip.cli import console, training, training_display
from slip.cli.training_display import display
from slip.data.splits import split
from slip.errors import ImageError, UsageError
from slip.training.loop import Moment, Watch
from slip.training.run import Run

DATA = Shapes()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "clip.safetensors")
    run.begin({}, split(DATA.pictures), resume=False)
    return run


@pytest.fixture(autouse=True)
def spoken() -> Iterator[None]:
    yield
    console.speak(True)


def train(run: Run, watch: Watch, first: int = 1, epochs: int = 4, steps: int = 3) -> None:
    """What the loop tells of the epochs from ``first`` on."""
    watch.stage("find segments", 1, 2)
    for epoch in range(first, epochs + 1):
        for step in range(1, steps + 1):
            watch.step(Moment(epoch, epochs, step, steps, 1 / epoch, 3e-4, 812.4))
        record = {"epoch": epoch, "step": epoch * steps, "train_loss": 1 / epoch}
        record |= {"validation_loss": 1.5, "validation_accuracy": 0.4512}
        run.log(record)
        watch.epoch(record)


def test_a_log_has_a_line_an_epoch(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(training_display, "monotonic", lambda: next(clock))
    with display(run, DATA) as watch:
        train(run, watch, epochs=2)
    first, last = capsys.readouterr().err.splitlines()
    told = "validation loss 1.5, accuracy 45.1 %, 812 images/s"
    # two steps took 10 s, by the clock above, so the other three take 15
    assert first == f"slip: epoch 1 of 2: loss 1, {told}, 0:00:15 left"
    assert last == f"slip: epoch 2 of 2: loss 0.5, {told}"


def test_the_time_left_is_reckoned_from_this_session(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(training_display, "monotonic", lambda: next(clock))
    with display(run, DATA) as watch:
        train(run, watch, first=99, epochs=100)
    assert capsys.readouterr().err.splitlines()[0].endswith(", 0:00:15 left")


def test_a_terminal_has_bars(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    openpty = getattr(os, "openpty", None)
    if openpty is None:
        pytest.skip("no terminals on this system")
    reader, writer = openpty()
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(writer, "w", buffering=1) as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with display(run, DATA) as watch:
            train(run, watch, first=2, epochs=3)
        shown = read_all(reader)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "epoch 2 of 3: loss 0.5, validation loss 1.5" in plain
    assert re.search(r"training .*epoch 3 of 3.* left", plain)
    assert re.search(r"epoch .*3/3, loss 0.3333, rate 3.00e-04, 812 images/s", plain)
    assert (run.folder / "curves.png").is_file()


def read_all(reader: int) -> str:
    os.set_blocking(reader, False)
    out = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(reader, 1 << 16):
            out += piece
    return out.decode()


def test_others_than_the_first_rank_say_and_write_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    before = sorted(run.folder.iterdir())
    with training.one_voice(run.folder), display(run, DATA) as watch:
        console.note("heard")
        watch.stage("find segments", 1, 2)
        watch.step(Moment(1, 1, 1, 1, 1.0, 1e-3, 1.0))
        watch.epoch({"epoch": 1, "train_loss": 1.0, "validation_loss": 1.0})
    training.emit_results(run.out)
    assert tuple(capsys.readouterr()) == ("", "")
    assert sorted(run.folder.iterdir()) == before


@pytest.mark.parametrize(
    ("error", "heard"), [(ImageError("gone"), True), (UsageError("shared"), False)], ids=["own", "shared"]
)
def test_what_went_wrong_on_another_rank_alone_is_heard(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    heard: bool,
) -> None:
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(type(error)), training.one_voice(run.folder):
        raise error
    console.tell(str(error))
    assert bool(capsys.readouterr().err) is heard


def test_curves_are_drawn_again_at_every_epoch(run: Run) -> None:
    seen = set()
    with display(run, DATA) as watch:
        for epoch in (1, 2):
            watch.step(Moment(epoch, 2, 1, 1, 1.0, 1e-3, 1.0))
            record = {"epoch": epoch, "step": epoch, "train_loss": 2.0 / epoch, "validation_loss": 1.0}
            run.log(record)
            watch.epoch(record)
            seen.add((run.folder / "curves.png").read_bytes())
    assert len(seen) == 2
    assert [json.loads(line)["epoch"] for line in run.metrics.read_text().splitlines()] == [1, 2]
