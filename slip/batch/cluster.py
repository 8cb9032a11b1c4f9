"""A batch on a Ray cluster: every worker loads the models once and takes one picture after the other.

Workers read the pictures, by path or URI, and send back rows with the bytes of their files, which are
written here: no disk need be shared, and a batch goes on after a break as any other, with Ray or without.
What travels is pickled, as is all that Ray carries: a cluster is trusted as this machine is.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slip.batch.job import Job
from slip.batch.journal import Results
from slip.batch.plan import Maker
from slip.batch.sources import Task
from slip.batch.work import Answer, Failed, Outcome, encoded, put, read, search
from slip.errors import SlipError, SlipWarning, UsageError
from slip.types import Progress, Segmenter

if TYPE_CHECKING:
    import pyarrow as pa

Load = Callable[[], tuple[Segmenter, Maker]]
"""Gives the models and what reports say of them; pickled, and called once by every worker."""

ATTEMPTS = 3
"""A picture that this many workers died of is given up."""

PATIENCE = 10.0
"""Seconds until a cluster must have answered."""


@dataclass(frozen=True)
class _Told:
    """What a worker sends back of a picture. warned: what the user should know."""

    work: list[Answer] | Failed | Exception
    warned: tuple[str, ...]


def check_library() -> None:
    """Raise UsageError where the optional extra is not installed."""
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise UsageError(
            '--engine ray needs Ray, which is not installed; run: pip install "slip-segment[ray]"'
        )


def run_on_ray(
    tasks: Sequence[Task],
    load: Load,
    job: Job,
    results: Results,
    tell: Callable[[Outcome], None],
    *,
    fail_fast: bool = False,
    on_gpu: bool = True,
    progress: Progress | None = None,
) -> None:
    """``slip.batch.run.run`` by the workers of a Ray cluster; results come in the order they are made.

    The cluster is the one this process is connected to, or that RAY_ADDRESS or ``ray start`` names; else
    one is started on this machine, for as long as this takes.

    on_gpu: each worker has a GPU, if the cluster has any; else a CPU.

    tell: called after each picture, from another thread, which Ctrl-C does not stop half-way.

    Raises UsageError for a cluster that cannot be used, and what ``load`` and ``run`` raise.
    """
    check_library()
    show = progress or (lambda stage, done, total: None)

    def finish(place: int, work: list[Answer] | Failed) -> None:
        outcome = put(tasks[place], work, job)
        results.add(outcome.rows)
        tell(outcome)

    with (
        _connected(show),
        closing(_told(tasks, load, job, on_gpu)) as all_told,
        ThreadPoolExecutor(1) as writer,
    ):
        show("start workers", 0, 1)
        for done, (place, told) in enumerate(all_told):
            if not done:
                show("start workers", 1, 1)
            for message in told.warned:
                warnings.warn(message, SlipWarning, stacklevel=2)
            if isinstance(told.work, Exception):
                raise told.work
            writer.submit(finish, place, told.work).result()
            if fail_fast and results.tally["failed"]:
                return


def _told(
    tasks: Sequence[Task], load: Load, job: Job, on_gpu: bool
) -> Generator[tuple[int, _Told], None, None]:
    """What workers tell of the tasks, by their places. Raises UsageError."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext, from_items

    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
    there = ray.cluster_resources()
    resource = "GPU" if on_gpu and there.get("GPU") else "CPU"
    begun = ray.remote(_Begun).options(num_cpus=0).remote(ATTEMPTS)
    items = [{"place": place, "task": pickle.dumps(task)} for place, task in enumerate(tasks)]
    initial = min(len(tasks), max(1, int(there.get(resource, 1))))
    pipeline = from_items(items, override_num_blocks=len(items)).map_batches(
        _Worker,
        fn_constructor_args=(load, job, Path.cwd(), begun),
        batch_size=1,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=1, max_size=len(tasks), initial_size=initial),
        num_gpus=1 if resource == "GPU" else None,
    )
    try:
        for row in pipeline.iter_rows():
            yield row["place"], pickle.loads(row["told"])
    except ray.exceptions.RayError as error:
        raise UsageError(f"Ray could not do the work: {_reason(error)}; see its logs") from None


class _Begun:
    """Counts, for all workers, how often each picture was begun."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun: Counter[int] = Counter()

    def begin(self, place: int) -> bool:
        """Whether a picture may be begun again."""
        self._begun[place] += 1
        return self._begun[place] <= self._most


class _Worker:
    """One of several processes that share the pictures; Ray starts it anew when it dies."""

    def __init__(self, load: Load, job: Job, folder: Path, begun: Any) -> None:
        self._load = load
        self._job = job
        self._begun = begun
        with suppress(OSError):  # on another machine, where only whole paths mean anything
            os.chdir(folder)

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        tasks = zip(batch["place"].to_pylist(), batch["task"].to_pylist(), strict=True)
        told = [pickle.dumps(self._tell(place, pickle.loads(task))) for place, task in tasks]
        return pa.table({"place": batch["place"], "told": pa.array(told, pa.large_binary())})

    @cached_property
    def _loaded(self) -> tuple[Segmenter, Job]:
        segmenter, maker = self._load()
        return segmenter, replace(self._job, maker=maker)

    def _tell(self, place: int, task: Task) -> _Told:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SlipWarning)
            try:
                work = self._work(place, task)
            except SlipError as error:
                work = error
            except Exception as error:
                work = RuntimeError("".join(traceback.format_exception(error)))
        return _Told(work, tuple(str(one.message) for one in caught if one.category is SlipWarning))

    def _work(self, place: int, task: Task) -> list[Answer] | Failed | Exception:
        import ray

        if not ray.get(self._begun.begin.remote(place)):
            return Failed(task, "worker after worker died of it; perhaps there is too little memory")
        segmenter, job = self._loaded
        return encoded(search(segmenter, read(task, job), job), job)


@contextmanager
def _connected(progress: Progress) -> Iterator[None]:
    """Be connected to a Ray cluster. Raises UsageError."""
    import ray

    if ray.is_initialized():
        yield
        return
    _check_address(os.environ.get("RAY_ADDRESS", ""))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    progress("start Ray", 0, 1)
    try:
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, include_dashboard=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"no Ray cluster can be used: {_reason(error)}; check RAY_ADDRESS") from None
    progress("start Ray", 1, 1)
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise UsageError where nobody answers: Ray would go on asking for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address}, which RAY_ADDRESS names: {_reason(error)}"
        ) from None


def _reason(error: Exception) -> str:
    """The last line of what Ray says, which is the cause."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
