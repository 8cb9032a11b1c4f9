"""How far a batch is, while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from slip.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress as Display

    from slip.types import Progress


class BatchDisplay:
    """Shows pictures done, rate, time left and the last result, and the stages of loading models.

    stages: for whoever reports those. tell: shows the line of the pictures, given a way to make it.
    """

    def __init__(
        self, stages: Progress, tell: Callable[[int, int, Callable[[], str]], None], display: Display | None
    ) -> None:
        self.stages = stages
        self._tell = tell
        self._display = display
        self._start = monotonic()

    def begin(self) -> None:
        """Time runs from now."""
        self._start = monotonic()

    def show(self, done: int, total: int, last: str) -> None:
        """After each picture."""
        seconds = monotonic() - self._start
        self._tell(done, total, lambda: f"{pace(done, total, seconds)}; last {last}")

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Out of the way, while something is written to a standard output that is the same terminal."""
        if self._display is None or not sys.stdout.isatty():
            yield
            return
        self._display.stop()
        try:
            yield
        finally:
            self._display.start()


@contextmanager
def batch_display() -> Iterator[BatchDisplay]:
    """A display on stderr; where that is no terminal, a line now and then."""
    if not console.is_watched():
        log = console.now_and_then()
        with console.progress() as stages:
            yield BatchDisplay(stages, lambda done, total, line: log(line), None)
        return
    with console.drawn() as (display, stages):
        row = display.add_task("pictures", total=None, count="", visible=False)

        def tell(done: int, total: int, line: Callable[[], str]) -> None:
            told = console.printable(line())
            display.update(row, completed=done, total=total, count=told, visible=True)

        yield BatchDisplay(stages, tell, display)


def pace(done: int, total: int, seconds: float) -> str:
    """How far a batch is, as "12/1000 pictures, 3.2 pictures/s, 5 min 9 s left"."""
    each = seconds / done
    speed = f"{1 / each:.1f} pictures/s" if each < 1 else f"{each:.1f} s a picture"
    minutes, rest = divmod(round((total - done) * each), 60)
    hours, minutes = divmod(minutes, 60)
    spans = ((hours, "h"), (minutes, "min"), (rest, "s"))
    left = " ".join(f"{span} {unit}" for span, unit in spans if span) or "0 s"
    return f"{done}/{total} pictures, {speed}, {left} left"
