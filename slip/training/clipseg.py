"""CLIPSeg on pictures and expressions of their parts: the decoder, and the towers where they are random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from slip.data.parts import PartSet
from slip.device import Compute
from slip.errors import UsageError
from slip.images import resize
from slip.models.checks import named_result
from slip.models.clipseg import (
    FULL,
    PATCH,
    PUBLISHED,
    SMALL,
    ClipSeg,
    build_clipseg,
    draw_decoder,
    read_clipseg,
    squash,
)
from slip.models.header import read_training
from slip.options import PartOptions
from slip.training.distributed import Ranks, device_of
from slip.training.loop import Watch, held_out_batches, steps_per_epoch
from slip.training.parts import (
    Asked,
    Begin,
    Learner,
    agreement,
    pixel_loss,
    rate_groups,
    schedule,
    training_pictures,
    validation_pictures,
)
from slip.training.run import Record
from slip.types import Image, Mask
from slip.weights import ensure


@dataclass(frozen=True)
class Squashed(Asked):
    """As ``Asked``, squashed to the square as CLIPSeg's own processor does it."""

    def _square(self, image: Image, masks: Sequence[Mask]) -> tuple[Image, Image]:
        pixels = squash(image, self.size).permute(1, 2, 0).contiguous().numpy()
        grey = [resize(mask.astype(np.uint8) * 255, self.size, self.size) for mask in masks]
        return pixels, np.stack(grey)


class ClipSegTask:
    """Binary cross-entropy of every pixel, AdamW."""

    def __init__(
        self, network: ClipSeg, data: PartSet, options: PartOptions, compute: Compute, workers: int
    ) -> None:
        train, config = training_pictures(data), network.config
        self.compute = compute
        self.network = network.to(device_of(compute))
        shown = partial(Squashed, data, size=config.image_size, pad=(0, 0, 0), length=config.context)
        self.data: Any = shown(train, expressions=options.expressions, seed=options.seed)
        held_out = validation_pictures(data)
        most = max(len(picture.parts) for picture in held_out)
        self.held_out = held_out_batches(shown(held_out, expressions=most), workers, batch=4)
        self.size = len(train)
        self.optimiser = AdamW(
            rate_groups(network.clip, network, options), lr=options.rate, weight_decay=options.weight_decay
        )
        self.scheduler = schedule(self.optimiser, options, steps_per_epoch(self.size, options.batch))

    def loss(self, network: nn.Module, batch: list[Tensor], _ranks: Ranks) -> Tensor:
        """The mean of all pixels of what was asked."""
        pixels, masks, tokens, weights = batch
        return pixel_loss(network(pixels, tokens), masks / 255, weights)

    def validate(self) -> dict[str, float]:
        """On validation pictures, with the wordings of an evaluation: loss, mean IoU and Precision@.5."""
        losses, ious = [], []
        for batch in self.held_out:
            pixels, masks, tokens, weights = (part.to(self.network.mean.device) for part in batch)
            with self.compute.autocast():
                logits = self.network(pixels, tokens).float()
            losses.append(float(pixel_loss(logits, masks / 255, weights)))
            ious.append(agreement(logits, masks / 255, weights))
        iou = torch.cat(ious)
        precision = float((iou > 0.5).float().mean())
        return {"loss": float(np.mean(losses)), "iou": float(iou.mean()), "precision": precision}

    def score(self, record: Record) -> tuple[float, ...]:
        """The best epoch has the highest IoU, of equals the lowest loss."""
        return float(record["validation_iou"]), -float(record["validation_loss"])


def begin(start: str, weights: str | None) -> Begin:
    """How a CLIPSeg is begun.

    start: ``tiny``, a small one with random weights; ``base``, the published one; else the path of an
    earlier result to go on from. weights: for ``base``, the path of its state dict; None for the catalogue's.
    Raises UsageError for weights that go with nothing.
    """
    if weights and start != "base":
        raise UsageError(f"weights are for a start from base, not from {start}; leave out {weights!r}")

    def make(data: PartSet, options: PartOptions, compute: Compute, workers: int, watch: Watch) -> Learner:
        torch.manual_seed(options.seed)
        before = None
        if start == "tiny":
            side = _checked(SMALL.image_size if options.image_size is None else options.image_size)
            network = build_clipseg(replace(SMALL, image_size=side, places_size=side))
            draw_decoder(network)
        elif start == "base":
            path = Path(weights) if weights else ensure(PUBLISHED, watch.stage)
            network = _resized(read_clipseg(path), options.image_size)
        else:
            path = named_result(start, "clipseg")
            network, before = _resized(read_clipseg(path), options.image_size), read_training(path)
        _freeze(network)
        taught = replace(options, encoder_rate=1.0) if start == "tiny" else options
        task = ClipSegTask(network, data, taught, compute, workers)
        return Learner("clipseg", network.config.to_json(), network, task, before)

    return make


def _resized(network: ClipSeg, side: int | None) -> ClipSeg:
    """The network for pictures of another size, where one is given."""
    if side is not None:
        network.config = replace(network.config, image_size=_checked(side))
    return network


def _checked(side: int) -> int:
    if side < PATCH or side % PATCH:
        raise UsageError(f"image size {side} is not for CLIPSeg; choose a multiple of {PATCH}, from {PATCH}")
    return side


def _freeze(network: ClipSeg) -> None:
    """Leave as it is what no answer depends on, and the published towers as they were published."""
    tower = network.clip.vision_model
    unused = [*tower.encoder.layers[max(network.config.taps) + 1 :], tower.post_layernorm]
    frozen = (
        [network.clip] if network.config.vision == FULL.vision else [*unused, network.clip.visual_projection]
    )
    for part in frozen:
        part.requires_grad_(False)
    network.clip.logit_scale.requires_grad_(False)
