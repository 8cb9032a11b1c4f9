"""Teaching networks the parts of pictures: what they are shown, and the training all of them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR
from torch.utils.data import Dataset

from slip.data.parts import PartPicture, PartSet, told_apart
from slip.data.pictures import Picture
from slip.data.splits import Split, trained_digest
from slip.device import Compute
from slip.errors import UsageError
from slip.models.checkpoint import save_checkpoint, state_digest
from slip.models.header import Kind
from slip.models.letterbox import Letterbox
from slip.options import PART_THRESHOLD, PartNetwork, PartOptions
from slip.training.distributed import joined
from slip.training.loop import Key, Plan, Task, Watch, fit
from slip.training.run import Record, Run
from slip.types import Image, Mask

KEPT_BYTES = 400_000_000
"""Each process keeps prepared pictures up to about so many bytes: an epoch then costs no decoding."""
VALIDATED = 200
"""Validation pictures that are asked after an epoch, at even distances."""
STEPS_DOWN, WARM_UP = 0.7, 0.05
"""Share of the steps after which ``step`` lowers the rate; share of rising rate with ``cosine``."""


@dataclass(frozen=True)
class Learner:
    """A network about to be taught.

    config: what its checkpoint builds it from (JSON). before: what the checkpoint that it goes on from was
    taught; None for none.
    """

    kind: Kind
    config: dict[str, Any]
    network: nn.Module
    task: Task
    before: dict[str, Any] | None = None


Begin = Callable[[PartSet, PartOptions, Compute, int, Watch], Learner]
"""``begin(data, options, compute, workers, watch)``."""


@dataclass(frozen=True)
class Asked(Dataset[Any]):
    """Pictures with expressions for some of their parts. Items are asked for by (epoch, index).

    An item: the letterboxed picture, ``uint8 (3, S, S)``; K masks, ``uint8 (K, S, S)`` from 0 to 255; the
    tokens of their expressions, ``int64 (K, L)``; and weights, ``float32 (K)``: 0 where a picture has
    fewer parts and some come again, which then only fill the batch. Which parts and which wordings is drawn
    from (seed, epoch, index); without a seed all is as in an evaluation.

    size: side of the square in pixels. pad: the colour around the picture. length: tokens of an expression.
    """

    data: PartSet
    pictures: Sequence[PartPicture]
    size: int
    pad: tuple[int, int, int]
    length: int
    expressions: int
    seed: int | None = None
    _kept: dict[int, tuple[Image, Image]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: Key | int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        epoch, index = (0, key) if isinstance(key, int) else key
        picture = self.pictures[index]
        pixels, masks = self._prepared(index)
        order, said = list(range(len(picture.parts))), [0] * len(picture.parts)
        if self.seed is not None:
            rng = np.random.default_rng((self.seed, epoch, index))
            order = rng.permutation(len(order)).tolist()
            said = rng.integers(0, 1 << 16, len(order)).tolist()
        chosen = order[: self.expressions]
        weights = torch.tensor([1.0] * len(chosen) + [0.0] * (self.expressions - len(chosen)))
        chosen = list(islice(cycle(chosen), self.expressions))
        told = told_apart(picture)
        words = [told[place][said[place] % len(told[place])] for place in chosen]
        tokens = open_clip.tokenize(words, self.length)
        square = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        return square, torch.from_numpy(masks[chosen]), tokens, weights

    def _prepared(self, index: int) -> tuple[Image, Image]:
        """The square picture and the masks of its parts, in their order."""
        if index not in self._kept:
            cv2.setNumThreads(1)
            picture = self.pictures[index]
            image, masks = self.data.load(picture)
            found = self._square(image, [masks[part] for part in picture.parts])
            held = sum(array.nbytes for pair in (*self._kept.values(), found) for array in pair)
            if held > KEPT_BYTES:
                return found
            self._kept[index] = found
        return self._kept[index]

    def _square(self, image: Image, masks: Sequence[Mask]) -> tuple[Image, Image]:
        """A picture and its masks as the network sees them."""
        box = Letterbox.of((image.shape[0], image.shape[1]), self.size)
        return box.picture(image, self.pad), np.stack([box.mask(mask) for mask in masks])


def validation_pictures(data: PartSet) -> list[PartPicture]:
    """Those that are asked after every epoch, at even distances. Raises UsageError where there are none."""
    held_out = data.pictures("validation")
    if not held_out:
        raise UsageError(f"{data.name} has no validation pictures; a network cannot be chosen without")
    count = min(VALIDATED, len(held_out))
    return [held_out[index * len(held_out) // count] for index in range(count)]


def training_pictures(data: PartSet) -> tuple[PartPicture, ...]:
    """Raises UsageError where there are none."""
    pictures = data.pictures("train")
    if not pictures:
        raise UsageError(f"{data.name} has no training pictures; choose a set that has")
    return pictures


def schedule(optimiser: Optimizer, options: PartOptions, steps: int) -> LRScheduler:
    """How the rates go; steps: of an epoch."""
    total = options.epochs * steps
    if options.decay == "step":
        return MultiStepLR(optimiser, [max(1, round(STEPS_DOWN * total))], 0.1)
    highest = [float(group["lr"]) for group in optimiser.param_groups]
    rising = max(WARM_UP, 1.5 / (total + 1))  # one step at least, or torch divides by zero
    return OneCycleLR(optimiser, highest, total_steps=total + 1, pct_start=rising, cycle_momentum=False)


def rate_groups(encoders: nn.Module, network: nn.Module, options: PartOptions) -> list[dict[str, Any]]:
    """The parameters of encoders that know something with their share of the rate, all others with it."""
    moving = [parameter for parameter in network.parameters() if parameter.requires_grad]
    inside = {id(parameter) for parameter in encoders.parameters()}
    return [
        {"params": [one for one in moving if id(one) in inside], "lr": options.rate * options.encoder_rate},
        {"params": [one for one in moving if id(one) not in inside], "lr": options.rate},
    ]


def targets_of(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks ``uint8 (B, K, S, S)`` from 0 to 255 as ``float32 (B, K, h, w)`` from 0 to 1, by nearest pixels.

    Nearest to the centres: torch's plain ``nearest`` takes corners, which shifts every mask.
    """
    return interpolate(masks.float() / 255, size, mode="nearest-exact")


def pixel_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """-log sigmoid(logit) inside the mask, -log(1 - sigmoid(logit)) outside, the mean of all pixels.

    For CRIS, whose logits are z_t . z_v, its text-to-pixel contrastive loss.

    logits: ``(B, K, h, w)``. targets: the masks there, 0 to 1. weights: ``(B, K)``, 0 for what was not asked.
    """
    each = binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").mean((-2, -1))
    return (each * weights).sum() / weights.sum().clamp(min=1)


def agreement(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """IoU of each expression with a weight above 0, at the network's own size, ``float32 (N)``.

    Coarser than an evaluation's: a part without a pixel at that size counts as not found.
    """
    found, true = logits.sigmoid() > PART_THRESHOLD, targets > 0.5
    shared, either = (found & true).sum((-2, -1)), (found | true).sum((-2, -1))
    return (shared / (either + 1e-6))[weights > 0]


def train_parts(
    data: PartSet,
    method: PartNetwork,
    begin: Begin,
    out: Path,
    options: PartOptions,
    compute: Compute,
    *,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    watch: Watch | None = None,
) -> Record:
    """Teach a network the parts of a set and write it to ``out``.

    begin: makes the network of ``method`` and its task. resume: go on where the run of this name stands.

    Returns the record of the best epoch by validation IoU, with ``trials``, the questions it was asked.
    Raises UsageError where the run cannot begin or the loss is lost, WeightsError, OutputError, Interrupted.
    """
    check_options(options)
    run, watch = Run(out), watch or Watch()
    with joined(compute) as ranks:
        train = training_pictures(data)
        torch.manual_seed(options.seed)
        learner = begin(data, options, compute, workers, watch)
        note = about_parts(data, method, options, learner)
        ranks.told(lambda: run.begin(note, as_split(data), resume=resume, overwrite=overwrite))
        plan = Plan(options.epochs, options.batch, options.seed, options.clip_norm, workers)
        best = fit(learner.task, plan, run, compute, ranks, watch)
        best["trials"] = sum(len(picture.parts) for picture in validation_pictures(data))
        if ranks.leads:
            told = {**note, "pictures": len(train), "metrics": best}
            save_checkpoint(out, learner.kind, learner.config, learner.network.state_dict(), told)
    return best


def about_parts(data: PartSet, method: PartNetwork, options: PartOptions, learner: Learner) -> Record:
    """What decides the result of a training, for its note and its checkpoint."""
    note: Record = {
        "data": data.name,
        "digest": data.digest,
        "parts": [part.category for part in data.parts],
        "method": method,
        "trained": trained_digest(as_split(data).train),
        "options": asdict(options),
        "config": learner.config,
        "weights": state_digest(learner.network.state_dict()),
    }
    return {**note, "before": learner.before} if learner.before else note


def as_split(data: PartSet) -> Split:
    """The training and validation sides as a split of pictures."""

    def side(pictures: Sequence[PartPicture]) -> tuple[Picture, ...]:
        return tuple(Picture(one.name, one.subject, one.subject, at) for at, one in enumerate(pictures))

    return Split(side(data.pictures("train")), side(data.pictures("validation")))


def check_options(options: PartOptions) -> None:
    """Raise UsageError for values out of range."""
    for name in ("epochs", "batch", "expressions"):
        if getattr(options, name) < 1:
            raise UsageError(f"{name} cannot be {getattr(options, name)}; choose 1 or more")
    for name in ("rate", "clip_norm"):
        if not getattr(options, name) > 0:
            raise UsageError(f"{name} cannot be {getattr(options, name)}; choose a number above 0")
    if not 0 < options.encoder_rate <= 1:
        raise UsageError(f"encoder_rate cannot be {options.encoder_rate}; choose above 0, to 1")
