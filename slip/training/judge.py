"""The judge: a ResNet-18 that says what a segment shows, trained on single pictures.

``paper`` is the recipe of the SLIP code (arXiv 2405.07284): from ImageNet weights, where they can be
had, pictures squashed to 224 px, SGD with momentum .9, one cycle up to the rate. ``own`` is for
random weights: smaller pictures, shown whole and as segments, mixup (arXiv 1710.09412), label
smoothing, and a cosine; most of the training sees them at two thirds of their size.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from torchvision.transforms import v2

from slip.data.pictures import PictureSet
from slip.data.splits import Split, split
from slip.device import Compute
from slip.errors import SlipWarning, UsageError, WeightsError
from slip.models.checkpoint import State, save_checkpoint
from slip.models.resnet18 import IMAGENET, JudgeConfig, build_judge, imagenet_trunk, probabilities_of
from slip.options import CAPTION, SPLIT, JudgeOptions, SplitOptions
from slip.training.distributed import Ranks, joined
from slip.training.loop import Plan, Watch, fit, held_out_batches, steps_per_epoch
from slip.training.run import Record, Run, about
from slip.training.segments import segments_for
from slip.training.views import Labelled, Shown, letterbox, squash
from slip.types import Proposer, Segment

SMOOTHING = 0.1
MIXUP = 0.2
SEGMENT_SHARE = 0.4
SMALL_SHARE = 0.7
"""``own``: the part of the training that sees pictures at two thirds of their size."""


class JudgeTask:
    """A ResNet-18 on labelled pictures."""

    def __init__(
        self,
        data: PictureSet,
        parts: Split,
        options: JudgeOptions,
        compute: Compute,
        segments: Mapping[str, Sequence[Segment]],
        trunk: State | None,
        workers: int,
    ) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.compute = compute
        self.config = JudgeConfig(data.classes, options.image_size)
        self.network = build_judge(len(data.classes), trunk)
        own = options.recipe == "own"
        self.size = len(parts.train)
        self.data: Any = (
            Labelled(data, parts.train, options.image_size, options.seed, segments, SEGMENT_SHARE)
            if own
            else Shown(data, parts.train, options.image_size, squash)
        )
        shown = Shown(data, parts.validation, options.image_size, letterbox if own else squash)
        self.held_out = held_out_batches(shown, workers)
        number = {name: index for index, name in enumerate(data.classes)}
        self.labels = torch.tensor([number[picture.label] for picture in parts.train])
        self.true = torch.tensor([number[picture.label] for picture in parts.validation])
        self.mixup = v2.MixUp(alpha=MIXUP, num_classes=len(data.classes))
        self.optimiser = torch.optim.SGD(
            self.network.parameters(), lr=options.rate, momentum=0.9, weight_decay=options.weight_decay
        )
        self.steps = options.epochs * steps_per_epoch(self.size, options.batch)
        self.scheduler = OneCycleLR(
            self.optimiser,
            options.rate,
            total_steps=self.steps + 1,
            pct_start=0.05 if own else 0.3,
            cycle_momentum=not own,
        )

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor], _ranks: Ranks) -> Tensor:
        """Cross-entropy; with ``own`` of mixed pictures and smoothed labels."""
        pixels, indices = batch
        labels = self.labels.to(indices.device)[indices]
        inputs = self.config.normalised(pixels)
        if self.options.recipe == "paper":
            return functional.cross_entropy(network(inputs).float(), labels)
        if self.scheduler.last_epoch < SMALL_SHARE * self.steps:
            inputs = functional.interpolate(
                inputs, size=2 * self.options.image_size // 3, mode="bilinear", antialias=True
            )
        inputs, mixed = self.mixup(inputs, labels)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        return functional.cross_entropy(network(inputs).float(), mixed, label_smoothing=SMOOTHING)

    def validate(self) -> dict[str, float]:
        """Mean cross-entropy and accuracy on the held-out pictures."""
        probabilities = self.probabilities()
        loss = functional.nll_loss(probabilities.clamp_min(1e-9).log(), self.true)
        right = (probabilities.argmax(1) == self.true).float().mean()
        return {"loss": float(loss), "accuracy": float(right)}

    def probabilities(self) -> Tensor:
        """Of the held-out pictures, ``(N, C)``, in their order."""
        device = next(self.network.parameters()).device
        with self.compute.autocast():
            rows = [
                probabilities_of(self.network, self.config.normalised(pixels.to(device))).cpu()
                for pixels, _ in self.held_out
            ]
        return torch.cat(rows)

    def score(self, record: Record) -> tuple[float, ...]:
        """The best epoch has the highest validation accuracy, of equals the lowest loss."""
        return float(record["validation_accuracy"]), -float(record["validation_loss"])


def train_judge(
    data: PictureSet,
    out: Path,
    options: JudgeOptions,
    compute: Compute,
    *,
    caption: str = CAPTION,
    held_out: SplitOptions = SPLIT,
    proposer: Proposer | None = None,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    watch: Watch | None = None,
) -> Record:
    """Train a judge and write it to ``out``.

    caption: the template that ``data`` was opened with, kept in the checkpoint.
    proposer: finds segments of the training pictures, which ``own`` sees beside the whole pictures.
    resume: go on where the run of this name stands.

    Returns the record of the best epoch, with ``trials`` and ``confusion``, ``int (C, C)``: true
    class x judged class on the held-out side.
    Raises UsageError where the classes cannot be judged, the run cannot begin or the loss is lost,
    OutputError, Interrupted.
    """
    run, watch, parts = Run(out), watch or Watch(), split(data.pictures, held_out)
    _check_labels(parts)
    trunk = _trunk(options, watch)
    with joined(compute) as ranks:
        note = about(data, parts, caption, held_out, asdict(options), proposer)
        note["weights"] = "random" if trunk is None else IMAGENET
        ranks.told(lambda: run.begin(note, parts, resume=resume, overwrite=overwrite))
        segments = segments_for(data, parts, proposer, run, ranks, watch)
        task = JudgeTask(data, parts, options, compute, segments, trunk, workers)
        plan = Plan(options.epochs, options.batch, options.seed, workers=workers)
        best = fit(task, plan, run, compute, ranks, watch)
        task.network.eval()
        with torch.inference_mode():
            judged = task.probabilities().argmax(1).numpy()
        if ranks.leads:
            training = {**note, "metrics": best}
            save_checkpoint(out, "resnet18", task.config.to_json(), task.network.state_dict(), training)
    confusion = np.zeros((len(data.classes),) * 2, np.int64)
    np.add.at(confusion, (task.true.numpy(), judged), 1)
    return {**best, "trials": len(parts.validation), "confusion": confusion}


def _check_labels(parts: Split) -> None:
    """Raise UsageError where what is held out is of classes that are never trained on."""
    known = {picture.label for picture in parts.train}
    if not any(picture.label in known for picture in parts.validation):
        raise UsageError(
            "no held-out picture is of a class that is trained on; "
            "a judge needs several pictures of each class"
        )


def _trunk(options: JudgeOptions, watch: Watch) -> State | None:
    """What the judge knows before: ImageNet, for ``paper`` where it can be had, else nothing.

    Warns (SlipWarning) where it cannot be had.
    """
    if options.recipe == "own":
        return None
    try:
        return imagenet_trunk(watch.stage)
    except WeightsError as error:
        warnings.warn(
            f"the judge starts from random weights, not from ImageNet's: {str(error).partition(';')[0]}; "
            "for random weights --recipe own is better",
            SlipWarning,
            stacklevel=3,
        )
        return None
