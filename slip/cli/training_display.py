"""How a training looks on stderr: bars on a terminal, elsewhere a line an epoch.

Importing this imports torch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

from slip.cli import console
from slip.training.distributed import leads
from slip.training.loop import Moment, Watch
from slip.training.report import LeftOut, leave_curves, leave_unreadable
from slip.training.run import Record, Run
from slip.types import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


@contextmanager
def display(run: Run, data: LeftOut) -> Iterator[Watch]:
    """What shows a training, and keeps the files of its run that people look at; rank 0 alone does."""
    if not leads():
        yield Watch()
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield Bars(run, data, bars)
    else:
        with console.progress() as log:
            yield Lines(run, data, log)


class _Display(Watch):
    """What both displays do: tell an epoch in a line, and keep the files."""

    def __init__(self, run: Run, data: LeftOut) -> None:
        self._run = run
        self._data = data
        self._began = 0.0
        self._seen = 0
        self._moment: Moment | None = None

    def step(self, moment: Moment) -> None:
        """Remember the moment; at the first one the run has its folder."""
        if self._moment is None:
            self._began = monotonic()
            leave_unreadable(self._run.folder, self._data)
        self._moment = moment
        self._seen += 1

    def epoch(self, record: Record) -> None:
        """Draw the curves, and say a line."""
        leave_curves(self._run)
        console.tell(", ".join(self._told(record)))

    def _told(self, record: Record) -> Iterator[str]:
        moment = self._moment
        epochs = f" of {moment.epochs}" if moment else ""
        yield f"epoch {record['epoch']}{epochs}: loss {record['train_loss']:.4g}"
        if "validation_loss" in record:
            yield f"validation loss {record['validation_loss']:.4g}"
        if "validation_accuracy" in record:
            yield f"accuracy {record['validation_accuracy']:.1%}".replace("%", " %")
        if "validation_iou" in record:
            yield f"IoU {record['validation_iou']:.3f}"
        if moment:
            yield f"{moment.images_per_second:.3g} images/s"
            left = (moment.epochs - moment.epoch + 1) * moment.steps - moment.step
            if left and self._seen > 1:
                seconds = (monotonic() - self._began) / (self._seen - 1) * left
                yield f"{timedelta(seconds=round(seconds))} left"


class Lines(_Display):
    """For logs."""

    def __init__(self, run: Run, data: LeftOut, log: Progress) -> None:
        super().__init__(run, data)
        self._log = log

    def stage(self, name: str, done: int, total: int) -> None:
        """A line now and then."""
        self._log(name, done, total)


class Bars(_Display):
    """For terminals: a bar for the whole training, one for its epoch, and one for each stage before."""

    def __init__(self, run: Run, data: LeftOut, bars: RichProgress) -> None:
        super().__init__(run, data)
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def stage(self, name: str, done: int, total: int) -> None:
        """Move the bar of a stage."""
        self._show(name, done, total, console.count(name, done, total))

    def step(self, moment: Moment) -> None:
        """Move both bars of the training."""
        if self._moment is None or moment.step == 1:
            self._clear()
        super().step(moment)
        done, total = (moment.epoch - 1) * moment.steps + moment.step, moment.epochs * moment.steps
        self._show("training", done, total, f"epoch {moment.epoch} of {moment.epochs}")
        figures = f"loss {moment.loss:.4f}, rate {moment.rate:.2e}, {moment.images_per_second:.3g} images/s"
        self._show("epoch", moment.step, moment.steps, f"{moment.step}/{moment.steps}, {figures}")

    def _clear(self) -> None:
        """Take away all but the whole training's bar."""
        for name in [name for name in self._tasks if name != "training"]:
            self._bars.remove_task(self._tasks.pop(name))

    def _show(self, name: str, done: int, total: int, told: str) -> None:
        """A bar begins where the work does, so that the time left is that from here on."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, completed=done, total=total or None, told=told)
        self._bars.update(self._tasks[name], completed=done, total=total or None, told=told)


@contextmanager
def _bars() -> Iterator[RichProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, redirect_stdout=False) as bars:
        yield bars
