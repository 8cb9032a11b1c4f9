"""Mask R-CNN on pictures with parts: a category of parts is a class, and all of it in a picture one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.models.detection import MaskRCNN
from torchvision.ops import masks_to_boxes

from slip.data.parts import PartPicture, PartSet
from slip.device import Compute
from slip.errors import UsageError
from slip.images import resize
from slip.masks import mask_iou
from slip.models.checks import named_result
from slip.models.detections import SURE, detect, union
from slip.models.header import read_training
from slip.models.maskrcnn import (
    MAX_SIDE,
    MIN_SIDE,
    MaskRcnnConfig,
    build_maskrcnn,
    read_maskrcnn,
    take_imagenet,
)
from slip.options import PartOptions
from slip.training.distributed import Ranks
from slip.training.loop import Key, Watch, held_out_batches, steps_per_epoch
from slip.training.parts import Begin, Learner, rate_groups, schedule, training_pictures, validation_pictures
from slip.training.run import Record

SMALL_SIDE, FULL_SIDE = 192, 800
"""Longer side of the pictures in pixels where nothing else is said, of both configurations."""
MOMENTUM = 0.9


@dataclass(frozen=True)
class Instances(Dataset[Any]):
    """Pictures with the masks of their parts, as the network sees them.

    Item (epoch, index) or ``index``: the picture ``uint8 (3, S, S)`` in the top left corner of a black
    square; the masks ``uint8 (P, S, S)``, 0 or 1, and their labels ``int64 (P,)``, from 1 on, 0 where
    there is none; the picture's (height, width) on the square, ``int64 (2,)``.
    most: P, at least the number of parts in any of the pictures.
    """

    data: PartSet
    pictures: Sequence[PartPicture]
    config: MaskRcnnConfig
    most: int

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: Key | int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        picture = self.pictures[key if isinstance(key, int) else key[1]]
        cv2.setNumThreads(1)
        image, masks = self.data.load(picture)
        height, width = self.config.size_of((image.shape[0], image.shape[1]))
        side = self.config.image_size
        square = np.zeros((side, side, 3), np.uint8)
        square[:height, :width] = resize(image, width, height)
        shown = np.zeros((self.most, side, side), np.uint8)
        labels = np.zeros(self.most, np.int64)
        for place, (part, mask) in enumerate(sorted(masks.items())):
            grey = resize(mask.astype(np.uint8) * 255, width, height)
            shown[place, :height, :width] = grey > 127
            if shown[place].any():
                labels[place] = self.config.classes.index(part.category) + 1
        pixels = torch.from_numpy(square).permute(2, 0, 1).contiguous()
        return pixels, torch.from_numpy(shown), torch.from_numpy(labels), torch.tensor([height, width])


class MaskRcnnTask:
    """torchvision's losses, SGD with momentum."""

    def __init__(
        self,
        network: MaskRCNN,
        config: MaskRcnnConfig,
        data: PartSet,
        options: PartOptions,
        compute: Compute,
        workers: int,
    ) -> None:
        train, held_out = training_pictures(data), validation_pictures(data)
        most = max(len(picture.parts) for picture in (*train, *held_out))
        self.network = network
        self.size = len(train)
        self.data = Instances(data, train, config, most)
        self.held_out = held_out_batches(Instances(data, held_out, config, most), workers, options.batch)
        self.optimiser = torch.optim.SGD(
            rate_groups(network.backbone.body, network, options),
            options.rate,
            MOMENTUM,
            weight_decay=options.weight_decay,
        )
        self.scheduler = schedule(self.optimiser, options, steps_per_epoch(self.size, options.batch))
        self._compute = compute

    def loss(self, network: nn.Module, batch: Sequence[Tensor], _ranks: Ranks) -> Tensor:
        """The sum of the losses of proposals, boxes, classes and masks."""
        seen = [_seen(*item) for item in zip(*batch, strict=True)]
        losses = network([pixels.float() / 255 for pixels, _ in seen], [target for _, target in seen])
        return torch.stack(list(losses.values())).sum()

    def validate(self) -> dict[str, float]:
        """Mean IoU, and share of IoU above .5, of validation pictures' parts at the size they are seen at."""
        device = next(self.network.parameters()).device
        found = []
        for batch in self.held_out:
            for item in zip(*batch, strict=True):
                found += self._ious(*_seen(*item), device)
        return {"iou": float(np.mean(found)), "precision": float(np.mean(np.array(found) > 0.5))}

    def score(self, record: Record) -> tuple[float, ...]:
        """The best epoch has the highest validation IoU, of equals the highest precision."""
        return float(record["validation_iou"]), float(record["validation_precision"])

    def _ious(self, pixels: Tensor, target: dict[str, Tensor], device: torch.device) -> list[float]:
        size = pixels.shape[1], pixels.shape[2]
        with self._compute.autocast():
            detections = detect(self.network, pixels.to(device), size, SURE)
        ious = []
        for label, mask in zip(target["labels"].tolist(), target["masks"].bool().numpy(), strict=True):
            segment = union(detections, frozenset({label}))
            ious.append(mask_iou(segment.mask, mask) if segment else 0.0)
        return ious


def _seen(pixels: Tensor, masks: Tensor, labels: Tensor, size: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """A picture without the square around it, and what torchvision wants to know of it."""
    height, width = size.tolist()
    shown = labels > 0
    masks = masks[shown, :height, :width]
    boxes = masks_to_boxes(masks)
    boxes[:, 2:] += 1
    return pixels[:, :height, :width], {"boxes": boxes, "labels": labels[shown], "masks": masks}


def begin(start: str, weights: str | None) -> Begin:
    """How a Mask R-CNN is begun.

    start: ``tiny``, a small one with random weights; ``base``, torchvision's with ResNet-50, which has
    seen ImageNet; else the path of an earlier result for the same parts.
    weights: for ``base``, the path of ResNet-50's weights; None for the catalogue's.
    Raises UsageError for weights that go with nothing.
    """
    if weights and start != "base":
        raise UsageError(f"weights are for a start from base, not from {start}; leave out {weights!r}")

    def make(data: PartSet, options: PartOptions, compute: Compute, workers: int, watch: Watch) -> Learner:
        torch.manual_seed(options.seed)
        before = None
        if start in ("tiny", "base"):
            config = _config(start, data, options)
            network = build_maskrcnn(config)
            if start == "base":
                take_imagenet(network, weights, watch.stage)
        else:
            path = named_result(start, "maskrcnn")
            (config, network), before = read_maskrcnn(path), read_training(path)
            _check_same(config, data, options, path)
        task = MaskRcnnTask(network, config, data, options, compute, workers)
        return Learner("maskrcnn", config.to_json(), network, task, before)

    return make


def _config(start: str, data: PartSet, options: PartOptions) -> MaskRcnnConfig:
    usual = SMALL_SIDE if start == "tiny" else FULL_SIDE
    side = usual if options.image_size is None else options.image_size
    if not MIN_SIDE <= side <= MAX_SIDE:
        raise UsageError(f"image size {side} is not for Mask R-CNN; choose {MIN_SIDE} to {MAX_SIDE}")
    classes = tuple(part.category for part in data.parts)
    names = tuple(part.name for part in data.parts)
    return MaskRcnnConfig("small" if start == "tiny" else "resnet50", side, side, classes, names)


def _check_same(config: MaskRcnnConfig, data: PartSet, options: PartOptions, path: Path) -> None:
    if config.classes != tuple(part.category for part in data.parts):
        raise UsageError(f"{path} knows other parts than {data.name}; start from tiny or base")
    if options.image_size not in (None, config.image_size):
        raise UsageError(
            f"{path} sees pictures of {config.image_size} pixels; image_size cannot be {options.image_size}"
        )
