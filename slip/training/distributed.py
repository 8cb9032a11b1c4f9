"""One training on several devices or machines, as ``torchrun`` starts it; else a single process.

Every rank works on its share of the joint batch. Features are gathered from all ranks before the
loss, so a contrastive loss sees the joint batch, and only rank 0 writes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel

from slip.device import Compute
from slip.errors import SlipWarning, UsageError

T = TypeVar("T")

PATIENCE = timedelta(hours=12)
"""How long ranks wait for one that prepares something."""


@dataclass(frozen=True)
class Ranks:
    """This process among ``world``; rank 0 is the one that writes and speaks."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def share(self, batch: list[int]) -> list[int]:
        """The items of a joint batch that this rank works on; of equal number on all."""
        size = len(batch) // self.world
        return batch[self.rank * size : (self.rank + 1) * size]

    def gather(self, features: Tensor) -> Tensor:
        """``(B / world, ...)`` of every rank as ``(B, ...)``, in the order of ranks; gradients flow."""
        gathered: Callable[[Tensor], tuple[Tensor, ...]] = all_gather
        return torch.cat(gathered(features)) if self.world > 1 else features

    def mean(self, figures: Tensor) -> Tensor:
        """The mean over the ranks of ``float (K,)`` figures."""
        if self.world == 1:
            return figures
        figures = figures.clone()
        distributed.all_reduce(figures)
        return figures / self.world

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with its gradients averaged over the ranks."""
        if self.world == 1:
            return network
        if not next(network.parameters()).is_cuda:
            _note_batch_norm(network)
        else:
            synchronised: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
            network = synchronised(network)
        return DistributedDataParallel(network)

    def told(self, work: Callable[[], T]) -> T:
        """What ``work`` gives on rank 0; the others are told it, wherever they run."""
        if self.world == 1:
            return work()
        answer = [work() if self.leads else None]
        distributed.broadcast_object_list(answer, device=torch.device("cpu"))
        return cast(T, answer[0])

    def check_batch(self, batch: int) -> None:
        """Raise UsageError for a joint batch that cannot be shared equally."""
        if batch % self.world:
            raise UsageError(
                f"a batch of {batch} is not for {self.world} processes; give a multiple of {self.world}"
            )


@contextmanager
def joined(compute: Compute) -> Iterator[Ranks]:
    """The ranks that ``torchrun`` started, joined for as long as the context lasts."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    if compute.device == "cuda":
        torch.cuda.set_device(device_of(compute))
    backend = "cpu:gloo,cuda:nccl" if compute.device == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()


def leads() -> bool:
    """Whether this process is the one that speaks and writes."""
    return os.environ.get("RANK", "0") == "0"


def device_of(compute: Compute) -> torch.device:
    """Where this rank computes."""
    index = int(os.environ.get("LOCAL_RANK", "0")) if compute.device == "cuda" else None
    return torch.device(compute.device, index) if index is not None else torch.device(compute.device)


def _note_batch_norm(network: nn.Module) -> None:
    """Warn (SlipWarning): off the GPU nothing shares the statistics of batch normalisation."""
    if any(isinstance(part, nn.BatchNorm2d) for part in network.modules()):
        warnings.warn(
            "batch normalisation sees each process's own share of a batch here, so the losses differ "
            "from those of one process",
            SlipWarning,
            stacklevel=3,
        )
