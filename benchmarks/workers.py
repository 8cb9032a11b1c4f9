"""Work in processes of their own, each with its own memory, asked in turn."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Job(Protocol):
    """What a worker does with each task."""

    def warm_up(self) -> None:
        """What makes the first task like any other."""
        ...

    def run(self, task: Any) -> Any:
        """The work itself: its time and memory are measured."""
        ...

    def report(self, result: Any) -> Any:
        """What of the result goes back; not measured."""
        ...


@dataclass(frozen=True, eq=False)
class Answer:
    """What a worker says of one task. peak: bytes the process held at most during ``run``."""

    seconds: float
    peak: int
    report: Any


class Worker:
    """A process that stays and does one task after the other.

    build: called in the process, must pickle. environment: variables for that process alone.
    ``resident`` are the bytes it held once built, before it had done anything.
    """

    def __init__(self, build: Callable[[], Job], environment: Mapping[str, str] | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build), daemon=True)
        with _set(environment or {}):
            self._process.start()
        theirs.close()
        self.resident: int = self._receive()

    def __call__(self, task: Any) -> Answer:
        self._pipe.send(task)
        answer: Answer = self._receive()
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()

    def _receive(self) -> Any:
        try:
            said = self._pipe.recv()
        except EOFError:
            raise RuntimeError("a worker ended before it answered; perhaps memory ran out") from None
        if isinstance(said, str):
            raise RuntimeError(f"a worker failed:\n{said}")
        return said


def _serve(pipe: Connection, build: Callable[[], Job]) -> None:
    try:
        job = build()
        gc.collect()
        resident = _memory("VmRSS")
        job.warm_up()
        pipe.send(resident)
        while True:
            task = pipe.recv()
            forget_peak()
            start = perf_counter()
            result = job.run(task)
            seconds, peak = perf_counter() - start, peak_memory()
            pipe.send(Answer(seconds, peak, job.report(result)))
            del result
    except (EOFError, BrokenPipeError):
        return
    except Exception:
        pipe.send(traceback.format_exc())


def peak_memory() -> int:
    """Most bytes this process held: since ``forget_peak`` where the system can forget, else ever."""
    return _memory("VmHWM")


def forget_peak() -> None:
    """Begin a new peak, on Linux."""
    if CLEAR.exists():
        CLEAR.write_text("5")


def _memory(entry: str) -> int:
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith(entry))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Stopwatch:
    """Where a process spends its time, told from outside by wrapping functions.

    spent: seconds of each stage, without those of stages inside it. counts: what the stages counted.
    """

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.counts: Counter[str] = Counter()
        self._inside: list[float] = []

    def clear(self) -> None:
        """Begin anew."""
        self.spent.clear()
        self.counts.clear()

    def watch(
        self,
        owner: Any,
        name: str,
        stage: str,
        count: Callable[[Any, tuple[Any, ...]], Mapping[str, int]] | None = None,
    ) -> None:
        """Time the function ``name`` of a class or module. count: tells numbers by result and arguments."""
        function = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            start = perf_counter()
            self._inside.append(0.0)
            try:
                result = function(*arguments, **named)
            finally:
                whole = perf_counter() - start
                self.spent[stage] += whole - self._inside.pop()
                if self._inside:
                    self._inside[-1] += whole
            if count:
                self.counts.update(count(result, arguments))
            return result

        setattr(owner, name, timed)
