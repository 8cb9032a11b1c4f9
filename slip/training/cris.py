"""Teaching CRIS: text-to-pixel contrastive learning (arXiv 2111.15174, section 3.4)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from slip.data.parts import PartSet
from slip.device import Compute
from slip.errors import UsageError
from slip.models.checks import is_own_clip, named_clip
from slip.models.cris.load import begin_cris, load_cris
from slip.models.cris.network import Cris
from slip.models.cris.segmenter import TOGETHER, padding_of
from slip.models.header import kind_of
from slip.options import PartOptions
from slip.training.distributed import Ranks, device_of
from slip.training.finetune import training_of
from slip.training.loop import Watch, held_out_batches, steps_per_epoch
from slip.training.parts import (
    Asked,
    Begin,
    Learner,
    agreement,
    pixel_loss,
    rate_groups,
    schedule,
    targets_of,
    training_pictures,
    validation_pictures,
)
from slip.training.run import Record


class CrisTask:
    """A CRIS on pictures and expressions of their parts."""

    def __init__(
        self, network: Cris, data: PartSet, options: PartOptions, compute: Compute, workers: int
    ) -> None:
        train, config = training_pictures(data), network.config
        if min(options.batch, len(train)) * options.expressions < 2:
            raise UsageError("one expression a step is too few for batch normalisation; ask more together")
        self.compute = compute
        self.network = network.to(device_of(compute)).to(memory_format=torch.channels_last)
        shown = partial(Asked, data, size=config.image_size, pad=padding_of(network), length=config.words)
        self.data: Any = shown(train, expressions=options.expressions, seed=options.seed)
        held_out = validation_pictures(data)
        most = max(len(picture.parts) for picture in held_out)
        self.held_out = held_out_batches(shown(held_out, expressions=most), workers, batch=1)
        self.size = len(train)
        self.optimiser = Adam(
            rate_groups(network.encoders.clip, network, options),
            lr=options.rate,
            weight_decay=options.weight_decay,
        )
        self.scheduler = schedule(self.optimiser, options, steps_per_epoch(self.size, options.batch))

    def loss(self, network: nn.Module, batch: list[Tensor], ranks: Ranks) -> Tensor:
        """The contrastive loss of this rank's share."""
        pixels, masks, tokens, weights = batch
        logits = network(pixels, tokens)
        with torch.autocast(logits.device.type, enabled=False):
            return pixel_loss(logits, targets_of(masks, logits.shape[-2:]), weights)

    def validate(self) -> dict[str, float]:
        """On validation pictures, with the wordings of an evaluation: loss, mean IoU and Precision@.5."""
        losses, ious, network = [], [], self.network
        for batch in self.held_out:
            pixels, masks, tokens, weights = (part.to(network.mean.device) for part in batch)
            asked = weights[0] > 0
            with self.compute.autocast():
                seen, questions = network.see(pixels), tokens[0, asked].split(TOGETHER)
                found = [network.ask(seen.repeated(len(some)), network.read(some)) for some in questions]
            logits = torch.cat(found).float()[None]
            size = logits.shape[-2], logits.shape[-1]
            targets, all_of = targets_of(masks[:, asked], size), weights[:, asked]
            losses.append(pixel_loss(logits, targets, all_of).expand(logits.shape[1]))
            ious.append(agreement(logits, targets, all_of))
        iou = torch.cat(ious)
        return {
            "loss": float(torch.cat(losses).mean()),
            "iou": float(iou.mean()),
            "precision": float((iou > 0.5).float().mean()),
        }

    def score(self, record: Record) -> tuple[float, ...]:
        """The best epoch has the highest IoU, of equals the lowest loss."""
        return float(record["validation_iou"]), -float(record["validation_loss"])


def begin(start: str, weights: str | None) -> Begin:
    """How a CRIS is begun; start: ``tiny``, ``base``, a CLIP with a ModifiedResNet, or an earlier CRIS."""

    def make(data: PartSet, options: PartOptions, compute: Compute, workers: int, watch: Watch) -> Learner:
        path = named_clip(start)
        if start != "base" and path != "tiny" and is_own_clip(path) and kind_of(Path(path)) == "cris":
            network = _gone_on(Path(path), options.image_size)
        else:
            network = begin_cris(start, weights, options.image_size, watch.stage)
        task = CrisTask(network, data, options, compute, workers)
        before = None if start == "base" else training_of(start)
        return Learner("cris", network.config.to_json(), network, task, before)

    return make


def _gone_on(path: Path, image_size: int | None) -> Cris:
    """The network of a checkpoint, at another size where one is given. Raises UsageError, WeightsError."""
    network = load_cris(path)
    if image_size is None or image_size == network.config.image_size:
        return network
    resized = Cris(network.config.at(image_size))
    resized.load_state_dict(network.state_dict())
    return resized
