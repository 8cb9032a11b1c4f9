"""The recipes' way into the house's training loop: AdamW, warm-up and cosine, bf16, resumable."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.utils.data import Dataset

from slip.device import Compute
from slip.models.checkpoint import save_checkpoint
from slip.models.header import Kind, built_in
from slip.training.distributed import Ranks
from slip.training.loop import Key, Moment, Plan, Watch, fit
from slip.training.run import Record, Run

Batch = tuple[Tensor, ...]
LossOf = Callable[[int, Batch], Tensor]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. warmup: steps of rising rate. every: steps between checkpoints."""

    steps: int
    batch: int
    rate: float
    warmup: int = 300
    weight_decay: float = 0.05
    every: int = 250

    @property
    def epochs(self) -> int:
        """As many as there are checkpoints; the steps are rounded up to whole ones."""
        return -(-self.steps // self.every)


class Endless(Dataset[Any]):
    """Items that are drawn by their number, shared out to epochs of ``size``."""

    def __init__(self, items: Dataset[Any], size: int) -> None:
        self.items = items
        self.size = size

    def __getitem__(self, key: Key) -> Any:
        epoch, index = key
        return self.items[epoch * self.size + index]


class Recipe:
    """A model whose items never end and whose validation is ``recipes.evaluate``: the last epoch is kept."""

    def __init__(self, model: nn.Module, loss_of: LossOf, items: Dataset[Any], schedule: Schedule) -> None:
        self.network = model
        self.loss_of = loss_of
        self.size = schedule.every * schedule.batch
        self.data: Dataset[Any] = Endless(items, self.size)
        self.optimiser: torch.optim.Optimizer = torch.optim.AdamW(
            _groups(model, schedule.weight_decay), lr=schedule.rate, betas=(0.9, 0.98)
        )
        steps = schedule.epochs * schedule.every
        self.scheduler: LRScheduler = OneCycleLR(
            self.optimiser,
            schedule.rate,
            total_steps=steps + 1,
            pct_start=min(schedule.warmup, steps // 2) / (steps + 1),
            cycle_momentum=False,
        )

    def loss(self, _network: nn.Module, batch: list[Tensor], _ranks: Ranks) -> Tensor:
        """The loss of the step that the schedule stands at."""
        return self.loss_of(self.scheduler.last_epoch, tuple(batch))

    def validate(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def score(self, record: Record) -> tuple[float, ...]:
        """Later is better."""
        return (float(record["step"]),)


class Bar(Watch):
    """One bar for all steps."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("training", total=None)

    def step(self, moment: Moment) -> None:
        done = (moment.epoch - 1) * moment.steps + moment.step
        self.progress.update(
            self.task,
            total=moment.epochs * moment.steps,
            completed=done,
            description=f"loss {moment.loss:.3f}",
        )


def train(
    model: nn.Module, loss_of: LossOf, items: Dataset[Any], schedule: Schedule, out: Path, seed: int
) -> None:
    """Train until the schedule ends; resume what ``out`` holds.

    items: item ``i`` is a function of ``i`` alone. loss_of: of a step and its batch.
    """
    run = _run(out)
    run.folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(schedule.epochs, schedule.batch, seed, clip_norm=1.0, workers=1)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns) as progress:
        recipe = Recipe(model, loss_of, items, schedule)
        fit(recipe, plan, run, Compute("cpu", "bf16"), Ranks(), Bar(progress))


def export(model: nn.Module, network: nn.Module, kind: Kind, config: dict[str, Any], out: Path) -> None:
    """Put what was trained in ``out`` where the package loads it: half precision, configuration inside.

    network: the part of ``model`` that the package uses.
    """
    saved = _run(out).load()
    if saved is None:
        raise SystemExit(f"{out} holds no checkpoint; train first")
    model.load_state_dict(saved["network"])
    save_checkpoint(built_in(kind), kind, config, network.state_dict())


def read_arguments(description: str | None, out: str, schedule: Schedule) -> tuple[Path, Schedule, bool]:
    """The name of the run, the schedule and whether to export, from the command line; sets the threads."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--steps", type=int, default=schedule.steps)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--export", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return arguments.out, replace(schedule, steps=arguments.steps), arguments.export


def _run(out: Path) -> Run:
    return Run(out.with_suffix(".safetensors"))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
