"""Mask R-CNN (He et al. 2017, arXiv 1703.06870): torchvision's own classes, with parts as its categories."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn
from torchvision.models.detection import MaskRCNN, MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import AnchorGenerator, RPNHead
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from slip.errors import WeightsError
from slip.models.checkpoint import State, WithoutDraws, load_strictly, read_checkpoint, read_state
from slip.types import Progress
from slip.weights import ensure

Backbone = Literal["resnet50", "small"]

LONG, SHORT = 1333, 800
"""The sides of the pictures that torchvision's published weights were trained on."""
IMAGENET = "resnet50/imagenet"
"""The catalogue's name of the weights that a full network begins with."""
MIN_SIDE, MAX_SIDE = 32, 4096
CHANNELS, HIDDEN = 48, 256
"""``small``: of the pyramid, and of the box head."""
PROPOSALS, SAMPLES = 128, 48
"""``small``: boxes that are looked at, and of these learnt from, in a picture."""

OLD_NAMES = (
    (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)", r"\1.0.\2"),
    (r"(rpn\.head\.conv)\.(weight|bias)", r"\1.0.0.\2"),
)
"""Names in the published file, which was written by an older torchvision, and what they are now."""
OLD_MASK_NAME = r"roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)"


@dataclass(frozen=True)
class MaskRcnnConfig:
    """All that is needed to build the network.

    backbone: ``resnet50`` as in torchvision's ``maskrcnn_resnet50_fpn``, or ``small``.
    image_size, short_side: a picture is scaled until its longer side has the one or its shorter side the
    other, whichever comes first, in pixels.
    classes: categories of parts, of the labels from 1 on, in plain words. names: what each is called
    without its owner.
    """

    backbone: Backbone
    image_size: int
    short_side: int
    classes: tuple[str, ...]
    names: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    def size_of(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of a picture of ``image_size`` as the network sees it."""
        scale = min(self.image_size / max(image_size), self.short_side / min(image_size))
        height, width = (max(1, round(side * scale)) for side in image_size)
        return height, width


def build_maskrcnn(config: MaskRcnnConfig) -> MaskRCNN:
    """The network with random weights, in evaluation mode."""
    size = {"min_size": config.short_side, "max_size": config.image_size}
    labels = len(config.classes) + 1
    if config.backbone == "small":
        return _small(labels, config.image_size, size).eval()
    trunk = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=3
    )
    return MaskRCNN(trunk, labels, **size).eval()


def _small(labels: int, side: int, size: dict[str, int]) -> MaskRCNN:
    """For random weights and a processor: a block a stage, group normalisation, few proposals."""
    body = ResNet(BasicBlock, [1, 1, 1, 1], norm_layer=lambda width: nn.GroupNorm(8, width))
    levels = {f"layer{level + 1}": str(level) for level in range(4)}
    trunk = BackboneWithFPN(body, levels, [64, 128, 256, 512], CHANNELS)
    anchors = tuple((max(4, side // part),) for part in (24, 12, 6, 3)) + ((side * 2 // 3,),)
    return MaskRCNN(
        trunk,
        **size,
        rpn_anchor_generator=AnchorGenerator(anchors, ((0.5, 1.0, 2.0),) * len(anchors)),
        rpn_head=RPNHead(CHANNELS, 3),
        rpn_pre_nms_top_n_train=2 * PROPOSALS,
        rpn_pre_nms_top_n_test=2 * PROPOSALS,
        rpn_post_nms_top_n_train=PROPOSALS,
        rpn_post_nms_top_n_test=PROPOSALS,
        rpn_batch_size_per_image=128,
        box_roi_pool=MultiScaleRoIAlign(list(levels.values()), 7, 2),
        box_head=TwoMLPHead(CHANNELS * 49, HIDDEN),
        box_predictor=FastRCNNPredictor(HIDDEN, labels),
        box_batch_size_per_image=SAMPLES,
        mask_roi_pool=MultiScaleRoIAlign(list(levels.values()), 14, 2),
        mask_head=MaskRCNNHeads(CHANNELS, (CHANNELS, CHANNELS), 1),
        mask_predictor=MaskRCNNPredictor(CHANNELS, CHANNELS, labels),
    )


def take_imagenet(network: MaskRCNN, weights: str | None = None, progress: Progress | None = None) -> None:
    """Give a ``resnet50`` trunk the weights of a ResNet-50 that was trained on ImageNet.

    weights: the path of their state dict; None for the catalogue's. Raises WeightsError.
    """
    path = Path(weights) if weights else ensure(IMAGENET, progress)
    state = read_state(path)
    held = {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    load_strictly(network.backbone.body, held, path, "ResNet-50")


def read_maskrcnn(path: Path) -> tuple[MaskRcnnConfig, MaskRCNN]:
    """The configuration and the network of a checkpoint, in evaluation mode, on the CPU.

    path: a SLIP checkpoint, or with another suffix than ``.safetensors`` torchvision's published
    ``maskrcnn_resnet50_fpn``, which knows COCO's things.
    Raises WeightsError: missing, damaged, of another kind.
    """
    published = path.suffix != ".safetensors"
    if published:
        config, state = coco_config(), _renamed(read_state(path))
    else:
        held, state = read_checkpoint(path, "maskrcnn")
        config = _config_of(held, path)
    with WithoutDraws():
        network = build_maskrcnn(config)
    load_strictly(network, state, path, "the Mask R-CNN of its configuration")
    if published:
        for part in network.modules():  # as torchvision does: these weights were made so
            if isinstance(part, FrozenBatchNorm2d):
                part.eps = 0.0
    return config, network


def coco_config() -> MaskRcnnConfig:
    """That of torchvision's published weights."""
    categories = tuple(MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:])
    return MaskRcnnConfig("resnet50", LONG, SHORT, categories, categories)


def _renamed(state: State) -> State:
    renamed = {}
    for old, tensor in state.items():
        new = re.sub(OLD_MASK_NAME, lambda told: f"roi_heads.mask_head.{int(told[1]) - 1}.0.{told[2]}", old)
        for pattern, replacement in OLD_NAMES:
            new = re.sub(f"^{pattern}$", replacement, new)
        renamed[new] = tensor
    return renamed


def _config_of(held: dict[str, Any], path: Path) -> MaskRcnnConfig:
    try:
        return _parse(**held)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path} is damaged: not a configuration of Mask R-CNN: {error}") from None


def _parse(
    *, backbone: Backbone, image_size: int, short_side: int, classes: list[str], names: list[str]
) -> MaskRcnnConfig:
    if backbone not in ("resnet50", "small"):
        raise ValueError(f"the backbone is {backbone!r}; expected resnet50 or small")
    for size in (image_size, short_side):
        if type(size) is not int or not MIN_SIDE <= size <= MAX_SIDE:
            raise ValueError(f"a side is {size!r}; expected {MIN_SIDE} to {MAX_SIDE} pixels")
    for words in (classes, names):
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("classes and names are lists of words")
    if not 1 <= len(classes) == len(names) <= 10_000:
        raise ValueError(f"{len(classes)} classes and {len(names)} names; expected one name a class")
    return MaskRcnnConfig(backbone, image_size, short_side, tuple(classes), tuple(names))
