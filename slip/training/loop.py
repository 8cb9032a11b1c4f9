"""The training loop: every network of the house is trained here.

What is trained is a ``Task``: a network, its optimiser and schedule, the loss of a batch and its
validation. The loop brings order, mixed precision, clipping, several ranks, checkpoints, logs
and interruption. Item ``i`` of epoch ``e`` is a function of (seed, e, i) alone, and a checkpoint
holds every state there is, so a run resumed on the same device goes on as if it had never stopped.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset

from slip.device import Compute
from slip.errors import UsageError
from slip.training.distributed import Ranks, device_of
from slip.training.run import Record, Run

CHUNK = 256
"""Pictures, and captions, that are encoded together in validation."""

PATIENCE = 50
"""Steps in a row whose loss may be lost under fp16, while its scale is being found."""

Key = tuple[int, int]
"""(epoch, index): what a data set of training is asked by."""


class Task(Protocol):
    """What is trained."""

    @property
    def network(self) -> nn.Module:
        """What the optimiser moves; ``loss`` is given it, perhaps wrapped for several ranks."""
        ...

    @property
    def data(self) -> Dataset[Any]:
        """The items, asked for by (epoch, index)."""
        ...

    @property
    def size(self) -> int:
        """Items of an epoch."""
        ...

    @property
    def optimiser(self) -> Optimizer:
        """Of the network's parameters."""
        ...

    @property
    def scheduler(self) -> LRScheduler | ReduceLROnPlateau:
        """Stepped after every batch; a ReduceLROnPlateau after every epoch, by its ``loss``."""
        ...

    def loss(self, network: nn.Module, batch: Any, ranks: Ranks) -> Tensor:
        """The loss of this rank's share of a batch, a scalar."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures of the held-out side, for a plateau ``loss`` among them; perhaps none."""
        ...

    def score(self, record: Record) -> tuple[float, ...]:
        """How good an epoch is, by its figures; the best is kept, of equals the first."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long, in which batches and from which seed.

    batch: items of all ranks together. clip_norm: longest gradient; None: any.
    """

    epochs: int
    batch: int
    seed: int
    clip_norm: float | None = None
    workers: int = 0


@dataclass(frozen=True)
class Moment:
    """Where a training stands: ``step`` of ``steps`` of ``epoch`` of ``epochs``, each from 1."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    rate: float
    images_per_second: float


class Watch:
    """What is told while a training runs; this one says nothing."""

    def stage(self, name: str, done: int, total: int) -> None:
        """Some preparation has come so far."""

    def step(self, moment: Moment) -> None:
        """A batch is done."""

    def epoch(self, record: Record) -> None:
        """An epoch is done and validated."""


class Diverged(UsageError):
    """The loss became infinite or no number at all."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; what was reached is saved."""


@dataclass
class _State:
    """What changes while a training runs, beside the task's own."""

    step: int = 0
    total_loss: float = 0.0
    best: Record = field(default_factory=dict)
    best_network: dict[str, Tensor] = field(default_factory=dict)


class _Clock:
    """Batches since it was made: validation is not counted."""

    def __init__(self) -> None:
        self.began = perf_counter()
        self.batches = 0

    def speed(self, batch: int) -> float:
        """Pictures a second, one batch more being done."""
        self.batches += 1
        return self.batches * batch / (perf_counter() - self.began)


def steps_per_epoch(size: int, batch: int) -> int:
    """Whole batches of an epoch; one smaller batch where there are fewer items than that."""
    return max(1, size // batch)


def fit(task: Task, plan: Plan, run: Run, compute: Compute, ranks: Ranks, watch: Watch) -> Record:
    """Train to the end of the plan, from the run's checkpoint if it has one.

    Leaves the network of the best epoch in ``task.network`` and returns that epoch's record.
    Raises OutputError where a checkpoint cannot be saved, Interrupted after Ctrl-C.
    """
    ranks.check_batch(plan.batch)
    steps = steps_per_epoch(task.size, plan.batch)
    device = device_of(compute)
    task.network.to(device)
    torch.manual_seed(plan.seed)
    scaler = torch.amp.GradScaler(compute.device, enabled=compute.precision == "fp16")
    state = _resume(task, run, ranks, scaler)
    network = ranks.wrap(task.network)
    clock, lost = _Clock(), 0
    with _interruptible() as interrupted:
        for batch in _batches(task, plan, state.step, ranks):
            network.train()
            rate = float(task.optimiser.param_groups[-1]["lr"])
            loss = _step(task, plan, network, _moved(batch, device), compute, ranks, scaler)
            told = ranks.mean(torch.tensor([loss, float(interrupted.is_set())]))
            lost = 0 if bool(told[0].isfinite()) else lost + 1
            if lost > (PATIENCE if scaler.is_enabled() else 0):
                raise Diverged(f"the loss became {float(told[0])}; train with a lower rate")
            _count(state, run, ranks, plan, steps, float(told[0]), rate)
            speed = clock.speed(min(plan.batch, task.size))
            at = divmod(state.step - 1, steps)
            watch.step(Moment(at[0] + 1, plan.epochs, at[1] + 1, steps, float(told[0]), rate, speed))
            if state.step % steps == 0:
                _finish_epoch(task, run, ranks, state, steps, watch)
                clock = _Clock()
            if told[1] or state.step % steps == 0:
                _save(task, run, ranks, state, scaler)
            if told[1]:
                raise Interrupted(f"saved at step {state.step} in {str(run.folder)!r}")
    task.network.load_state_dict(state.best_network)
    return state.best


def _step(
    task: Task,
    plan: Plan,
    network: nn.Module,
    batch: Any,
    compute: Compute,
    ranks: Ranks,
    scaler: torch.amp.GradScaler,
) -> float:
    with compute.autocast():
        loss = task.loss(network, batch, ranks)
    task.optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(scaler.scale(loss))
    if plan.clip_norm is not None:
        scaler.unscale_(task.optimiser)
        nn.utils.clip_grad_norm_(network.parameters(), plan.clip_norm)
    scaler.step(task.optimiser)
    scaler.update()
    if not isinstance(task.scheduler, ReduceLROnPlateau):
        task.scheduler.step()
    return float(loss.detach())


def _count(state: _State, run: Run, ranks: Ranks, plan: Plan, steps: int, loss: float, rate: float) -> None:
    state.step += 1
    state.total_loss += loss
    if ranks.leads:
        epoch = (state.step - 1) // steps + 1
        run.log({"epoch": epoch, "step": state.step, "loss": loss, "rate": rate})


def _finish_epoch(task: Task, run: Run, ranks: Ranks, state: _State, steps: int, watch: Watch) -> None:
    """Validate on rank 0, log, keep the best."""
    task.network.eval()
    with torch.inference_mode():
        figures = ranks.told(task.validate)
    if isinstance(task.scheduler, ReduceLROnPlateau):
        task.scheduler.step(figures["loss"])
    train_loss = state.total_loss / steps
    record = {"epoch": state.step // steps, "step": state.step, "train_loss": train_loss}
    record |= {f"validation_{name}": figure for name, figure in figures.items()}
    state.total_loss = 0.0
    if not state.best or task.score(record) > task.score(state.best):
        state.best = record
        state.best_network = {
            name: tensor.detach().cpu().clone() for name, tensor in task.network.state_dict().items()
        }
    if ranks.leads:
        run.log(record)
    watch.epoch(record)


@dataclass(frozen=True)
class _Order(Iterable[list[Key]]):
    """The keys of this rank's shares of the batches, from step ``start`` to the end of the plan."""

    size: int
    plan: Plan
    start: int
    ranks: Ranks

    def __iter__(self) -> Iterator[list[Key]]:
        steps = steps_per_epoch(self.size, self.plan.batch)
        for epoch in range(self.start // steps, self.plan.epochs):
            done = max(0, self.start - epoch * steps)
            for batch in _epoch_order(self.size, self.plan, steps, epoch)[done:]:
                yield [(epoch, index) for index in self.ranks.share(batch)]


def _batches(task: Task, plan: Plan, start: int, ranks: Ranks) -> Iterator[Any]:
    """This rank's shares of the batches, from step ``start`` to the end of the plan."""
    several = {"prefetch_factor": 4, "persistent_workers": True} if plan.workers else {}
    yield from DataLoader(
        task.data,
        batch_sampler=_Order(task.size, plan, start, ranks),  # type: ignore[arg-type]
        num_workers=plan.workers,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator(),  # else it draws from the network's random numbers
        **several,  # type: ignore[arg-type]
    )


def held_out_batches(data: Dataset[Any], workers: int, batch: int = CHUNK) -> DataLoader[Any]:
    """The items of ``data`` in their order, in batches, for a validation."""
    return DataLoader(data, batch_size=batch, num_workers=workers, worker_init_fn=_ignore_interrupts)


def _ignore_interrupts(_worker: int) -> None:
    """For the processes that prepare pictures: after Ctrl-C they live until the batch is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _epoch_order(size: int, plan: Plan, steps: int, epoch: int) -> list[list[int]]:
    order = np.random.default_rng((plan.seed, epoch)).permutation(size).tolist()
    return [order[step * plan.batch : (step + 1) * plan.batch] for step in range(steps)]


def _moved(batch: Any, device: torch.device) -> Any:
    return [part.to(device, non_blocking=True) for part in batch]


def _save(task: Task, run: Run, ranks: Ranks, state: _State, scaler: torch.amp.GradScaler) -> None:
    if not ranks.leads:
        return
    run.save(
        {
            "network": task.network.state_dict(),
            "optimiser": task.optimiser.state_dict(),
            "scheduler": task.scheduler.state_dict(),
            "scaler": scaler.state_dict(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all(),
            "step": state.step,
            "total_loss": state.total_loss,
            "best": state.best,
            "best_network": state.best_network,
        }
    )


def _resume(task: Task, run: Run, ranks: Ranks, scaler: torch.amp.GradScaler) -> _State:
    saved = ranks.told(run.load)
    if ranks.leads:
        run.rewind(saved["step"] if saved else 0)
    if saved is None:
        return _State()
    task.network.load_state_dict(saved["network"])
    task.optimiser.load_state_dict(saved["optimiser"])
    task.scheduler.load_state_dict(saved["scheduler"])
    scaler.load_state_dict(saved["scaler"])
    torch.set_rng_state(saved["random"])
    if len(saved["cuda_random"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(saved["cuda_random"])
    return _State(saved["step"], saved["total_loss"], saved["best"], saved["best_network"])


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """The first Ctrl-C sets the event, so that a step is finished and saved; the second stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
