"""The training loop of the recipes: AdamW, warm-up and cosine, bf16, resumable."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from slip.models.checkpoint import Kind, built_in, save_checkpoint

Batch = tuple[Tensor, ...]
Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. warmup: steps of rising rate. every: steps between checkpoints."""

    steps: int
    batch: int
    rate: float
    warmup: int = 300
    weight_decay: float = 0.05
    every: int = 250


def train(
    model: nn.Module,
    losses_of: Callable[[int, Batch], Losses],
    data: Dataset[Any],
    schedule: Schedule,
    out: Path,
) -> None:
    """Train until the schedule ends; resume what ``out`` holds.

    data: item ``i`` is a function of ``i`` alone, so an interrupted run goes on with the items it
    had not seen.
    """
    out.mkdir(parents=True, exist_ok=True)
    optimiser = torch.optim.AdamW(_groups(model, schedule.weight_decay), lr=schedule.rate, betas=(0.9, 0.98))
    start = _resume(model, optimiser, out)
    began = time.monotonic()
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns) as progress, (out / "metrics.jsonl").open("a") as log:
        task = progress.add_task("training", total=schedule.steps, completed=start)
        for step, batch in enumerate(_batches(data, schedule, start), start):
            record = _step(model, optimiser, losses_of, step, batch, schedule)
            progress.update(task, advance=1, description=f"loss {record['loss']:.3f}")
            if step % 20 == 0:
                told = {"step": step, "seconds": round(time.monotonic() - began, 1), **record}
                log.write(json.dumps(told) + "\n")
                log.flush()
            if (step + 1) % schedule.every == 0 or step + 1 == schedule.steps:
                _save(model, optimiser, step + 1, out)


def export(model: nn.Module, network: nn.Module, kind: Kind, config: dict[str, Any], out: Path) -> None:
    """Put what was trained in ``out`` where the package loads it: half precision, configuration inside.

    network: the part of ``model`` that the package uses.
    """
    model.load_state_dict(torch.load(out / "checkpoint.pt", weights_only=True)["model"])
    save_checkpoint(built_in(kind), kind, config, network.state_dict())


def read_arguments(description: str | None, out: str, schedule: Schedule) -> tuple[Path, Schedule, bool]:
    """The folder, the schedule and whether to export, from the command line; sets the threads."""
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


def _step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    losses_of: Callable[[int, Batch], Losses],
    step: int,
    batch: Batch,
    schedule: Schedule,
) -> dict[str, float]:
    for group in optimiser.param_groups:
        group["lr"] = rate_at(step, schedule)
    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(step, batch)
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(losses["loss"])
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return {name: round(float(value.detach()), 4) for name, value in losses.items()}


def rate_at(step: int, schedule: Schedule) -> float:
    """Linear warm-up, then a cosine to a hundredth of the peak."""
    if step < schedule.warmup:
        return schedule.rate * (step + 1) / schedule.warmup
    share = (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    return schedule.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _batches(data: Dataset[Any], schedule: Schedule, start: int) -> Iterator[Batch]:
    order: Sequence[int] = range(start * schedule.batch, schedule.steps * schedule.batch)
    yield from DataLoader(data, batch_size=schedule.batch, sampler=order, num_workers=1, prefetch_factor=4)


def _save(model: nn.Module, optimiser: torch.optim.Optimizer, step: int, out: Path) -> None:
    beside = out / "checkpoint.pt.tmp"
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, beside)
    beside.replace(out / "checkpoint.pt")


def _resume(model: nn.Module, optimiser: torch.optim.Optimizer, out: Path) -> int:
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
