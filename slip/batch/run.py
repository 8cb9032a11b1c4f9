"""A batch on one machine: while a picture is searched, the next is read and the last is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from slip.batch.job import Job
from slip.batch.journal import Results
from slip.batch.sources import Task
from slip.batch.work import Failed, Outcome, Searched, read, search, write
from slip.types import Segmenter

AHEAD = 1
"""Pictures that wait before the search and after it: the memory holds this many, and not more."""

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


def run(
    tasks: Sequence[Task],
    segmenter: Segmenter,
    job: Job,
    results: Results,
    tell: Callable[[Outcome], None],
    *,
    fail_fast: bool = False,
) -> None:
    """Do all tasks: first the files of a picture are written, then its lines are added to the results.

    tell: called after each picture, from another thread. fail_fast: stop at the first failure, for which
    each picture is written before the next is searched.

    Raises WeightsError where the models cannot be had, OutputError where the results cannot be written,
    and whatever ``tell`` raises; what is searched until then is kept.
    """

    def finish(work: Searched | Failed) -> None:
        outcome = write(work, job)
        results.add(outcome.rows)
        tell(outcome)

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:

        def searched() -> Iterator[Searched | Failed]:
            for work in _overlapped(reader, partial(read, job=job), tasks):
                yield search(segmenter, work, job)
                if fail_fast and results.tally["failed"]:
                    return

        for _ in _overlapped(writer, finish, searched(), ahead=0 if fail_fast else AHEAD):
            pass


def _overlapped(
    pool: ThreadPoolExecutor, make: Callable[[_Item], _Made], items: Iterable[_Item], ahead: int = AHEAD
) -> Iterator[_Made]:
    """``map``, done by a pool ``ahead`` of whoever takes the results."""
    pending: deque[Future[_Made]] = deque()
    for item in items:
        pending.append(pool.submit(make, item))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
