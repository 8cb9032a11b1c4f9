"""ResNet-18 (He et al. 2016, arXiv 1512.03385), torchvision's, as a judge of what a picture shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from slip.device import Compute
from slip.errors import UsageError, WeightsError
from slip.models.checkpoint import State, load_strictly, read_checkpoint, read_state
from slip.types import Features, Image, Progress
from slip.weights import ensure

IMAGENET = "resnet18/imagenet"
"""The catalogue's name of the weights that the paper's judge started from."""


@dataclass(frozen=True)
class JudgeConfig:
    """What a judge knows and how it looks. mean, std: of the pixels' channels, 0 to 1."""

    classes: tuple[str, ...]
    image_size: int
    mean: float = 0.5
    std: float = 0.5

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    def normalised(self, pixels: Tensor) -> Tensor:
        """``uint8 (N, 3, H, W)`` as the network takes it, channels last."""
        scaled = (pixels.float() / 255 - self.mean) / self.std
        return scaled.contiguous(memory_format=torch.channels_last)


def build_judge(classes: int, trunk: State | None = None) -> nn.Module:
    """A ResNet-18 with random weights, but for those of ``trunk``. Raises WeightsError if they do not fit."""
    network: nn.Module = resnet18(num_classes=classes)
    if trunk is not None:
        load_strictly(network, {**network.state_dict(), **trunk}, Path(IMAGENET), "a ResNet-18")
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def imagenet_trunk(progress: Progress | None = None) -> State:
    """The published ImageNet weights, without those of the classes. Raises WeightsError."""
    state = read_state(ensure(IMAGENET, progress))
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


def load_judge(path: Path, compute: Compute) -> Judge:
    """The judge of a checkpoint. Raises WeightsError: missing, damaged, of another kind."""
    held, state = read_checkpoint(path, "resnet18")
    try:
        config = _parse(**held)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path} is damaged: not a judge's configuration: {error}") from None
    network = build_judge(len(config.classes))
    load_strictly(network, state, path, "a ResNet-18 of its classes")
    return Judge(network, config, compute, path.name)


def _parse(*, classes: Sequence[str], image_size: int, mean: float, std: float) -> JudgeConfig:
    if len(classes) < 2 or not all(isinstance(name, str) for name in classes):
        raise ValueError("two or more names of classes are needed")
    if not 1 <= int(image_size) <= 4096 or not float(std) > 0:
        raise ValueError("image_size is 1 to 4096, std above 0")
    return JudgeConfig(tuple(classes), int(image_size), float(mean), float(std))


class Judge:
    """Pictures to the probabilities of classes."""

    def __init__(self, network: nn.Module, config: JudgeConfig, compute: Compute, name: str) -> None:
        self.name = name
        self.classes = config.classes
        self.image_size = config.image_size
        self._config = config
        self._compute = compute
        self._network = network.to(compute.device).eval()

    def classify(self, crops: Image) -> Features:
        """``uint8 (N, S, S, 3)`` RGB to the probabilities of the classes, ``float32 (N, C)``.

        The mean over the crop and its mirror image. All N at once. Raises UsageError for another
        layout.
        """
        side = self.image_size
        if crops.dtype != np.uint8 or crops.shape[1:] != (side, side, 3):
            raise UsageError(f"crops are {crops.dtype} {crops.shape}; expected uint8 (N, {side}, {side}, 3)")
        if not len(crops):
            return np.empty((0, len(self.classes)), np.float32)
        pixels = torch.tensor(crops).permute(0, 3, 1, 2).to(self._compute.device)
        with torch.inference_mode(), self._compute.autocast():
            probabilities = probabilities_of(self._network, self._config.normalised(pixels))
        rows: Features = probabilities.cpu().numpy()
        return rows


def probabilities_of(network: nn.Module, pixels: Tensor) -> Tensor:
    """Probabilities ``float32 (N, C)``, the mean over pixels ``(N, 3, H, W)`` and their mirror image."""
    both = network(torch.cat([pixels, pixels.flip(-1)])).float().softmax(-1)
    mean: Tensor = both.reshape(2, len(pixels), -1).mean(0)
    return mean
