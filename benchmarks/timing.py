"""What every benchmark prints alike: repeats, their median and spread, and the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    def __str__(self) -> str:
        low, high, runs = min(self.seconds), max(self.seconds), len(self.seconds)
        return f"median {self.median:.4g} s, from {low:.4g} to {high:.4g} s in {runs} runs"


def measure(
    work: Callable[[], object], runs: int, warm_up: int = 1, clock: Callable[[], float] = perf_counter
) -> Timing:
    """Times ``work`` for a number of runs, after some that do not count."""
    for _ in range(warm_up):
        work()
    return Timing(tuple(_seconds(work, clock) for _ in range(runs)))


def machine(*packages: str) -> str:
    """One line: the processor, its cores, Python and the versions of ``packages``."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as Markdown has it, with an empty line before it."""
    rule = ["---" if place == 0 else "---:" for place in range(len(columns))]
    return "\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
