from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from benchmarks.workers import Stopwatch, Worker


class Holding:
    """Holds some MiB while it runs."""

    def warm_up(self) -> None:
        self.run(1)

    def run(self, task: int) -> int:
        if task < 0:
            raise ValueError(f"{task} MiB")
        return int(np.ones(task * 2**20, np.uint8).sum())

    def report(self, result: int) -> tuple[int, str]:
        return result, os.environ.get("SLIP_TEST_WORKER", "")


@contextmanager
def hired(**environment: str) -> Iterator[Worker]:
    worker = Worker(Holding, environment)
    try:
        yield worker
    finally:
        worker.close()


def test_peaks_are_those_of_each_task_in_each_process() -> None:
    with hired() as one, hired() as other:
        large, small, elsewhere = one(300), one(10), other(10)
    assert large.peak - one.resident > 290 * 2**20
    assert large.report[0] == 300 * 2**20
    for answer, worker in ((small, one), (elsewhere, other)):
        assert answer.peak - worker.resident < 60 * 2**20
    assert large.seconds > 0


def test_an_environment_is_the_workers_alone() -> None:
    with hired(SLIP_TEST_WORKER="yes") as one, hired() as other:
        assert (one(1).report[1], other(1).report[1]) == ("yes", "")
    assert "SLIP_TEST_WORKER" not in os.environ


def test_what_fails_in_a_worker_is_told() -> None:
    with hired() as worker, pytest.raises(RuntimeError, match="-5 MiB"):
        worker(-5)
    with pytest.raises(RuntimeError, match="ended before it answered"):
        Worker(partial(os._exit, 3))


class Layers:
    now = 0.0

    def outer(self) -> int:
        Layers.now += 2
        return self.inner() + self.inner()

    def inner(self) -> int:
        Layers.now += 5
        return 7


def test_stages_do_not_count_those_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.workers.perf_counter", lambda: Layers.now)
    for name in ("outer", "inner"):
        monkeypatch.setattr(Layers, name, getattr(Layers, name))
    watch = Stopwatch()
    watch.watch(Layers, "outer", "out")
    watch.watch(Layers, "inner", "in", lambda result, arguments: {"sum": result, "calls": len(arguments)})
    assert Layers().outer() == 14
    assert (watch.spent["out"], watch.spent["in"]) == (2, 10)
    assert watch.counts == {"sum": 14, "calls": 2}
    watch.clear()
    assert not watch.spent and not watch.counts
