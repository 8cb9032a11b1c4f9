"""What Mask R-CNN finds in a picture, as the answer to a text."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from slip.device import Compute
from slip.errors import SlipWarning
from slip.images import resize
from slip.masks import segment_of
from slip.models.maskrcnn import MaskRcnnConfig, read_maskrcnn
from slip.types import Image, Prediction, Segment
from slip.wording import plain

SURE = 0.5
"""Detections with a lower score are no part of an answer."""
INSIDE = 0.5
"""Pixels above this probability belong to a detection."""
NAMED = 5
"""How many known parts a warning names."""


@dataclass(frozen=True, eq=False)
class Detection:
    """One thing that was found. label: from 1 on, as the network counts; the segment has a score."""

    label: int
    segment: Segment


def detect(
    network: MaskRCNN, pixels: Tensor, image_size: tuple[int, int], sure: float = 0.0
) -> list[Detection]:
    """What torchvision's network finds in one picture, best first; at most 100, none with an empty mask.

    pixels: ``uint8 (3, h, w)``. image_size: (height, width) that the masks are brought to.
    sure: detections with a lower score are left out, 0 to 1.
    A mask is brought to that size after the other, so that a large picture does not fill the memory.
    """
    images, _ = network.transform([pixels.float() / 255])
    features = network.backbone(images.tensors)
    proposals, _ = network.rpn(images, features)
    [found], _ = network.roi_heads(features, proposals, images.image_sizes)
    detections = []
    for place, score in enumerate(found["scores"].float().clamp(0, 1).tolist()):
        if score < sure:
            break
        one = {name: found[name][place : place + 1].float() for name in ("boxes", "masks")}
        [pasted] = network.transform.postprocess([one], images.image_sizes, [image_size])
        segment = segment_of((pasted["masks"][0, 0] > INSIDE).cpu().numpy())
        if segment is not None:
            detections.append(Detection(int(found["labels"][place]), segment.scored(score)))
    return detections


def union(detections: Iterable[Detection], labels: frozenset[int]) -> Segment | None:
    """All pixels of the detections with one of ``labels``, with their highest score; None without any."""
    segments = [detection.segment for detection in detections if detection.label in labels]
    if not segments:
        return None
    mask = np.zeros(segments[0].image_size, bool)
    for segment in segments:
        mask[segment.box.slices] |= segment.patch
    whole = segment_of(mask)
    return whole and whole.scored(max(segment.score or 0.0 for segment in segments))


class Labels:
    """Which labels an expression means: those of the longest category, or bare name, that it ends with."""

    def __init__(self, classes: Sequence[str], names: Sequence[str]) -> None:
        self._known: dict[tuple[str, ...], frozenset[int]] = {}
        for label, told in enumerate(zip(classes, names, strict=True), start=1):
            for words in {tuple(plain(text).split()) for text in told}:
                self._known[words] = self._known.get(words, frozenset()) | {label}

    def of(self, prompt: str) -> frozenset[int]:
        """The labels that ``prompt`` means, from 1 on; none where it ends with no known part.

        >>> labels = Labels(("bird wing", "bug wing"), ("wing", "wing"))
        >>> sorted(labels.of("the wing of the blue bird")), sorted(labels.of("left wing"))
        ([1], [1, 2])
        """
        words = plain(prompt).split()
        ends = (tuple(words[start:]) for start in range(len(words)))
        return next((self._known[end] for end in ends if end in self._known), frozenset())


class MaskRcnnSegmenter:
    """Pictures and the names of parts to masks: the union of what has the label."""

    def __init__(self, network: MaskRCNN, config: MaskRcnnConfig, compute: Compute, name: str) -> None:
        self.name = name
        self._config = config
        self._compute = compute
        self._network = network.to(compute.device).eval()
        self._labels = Labels(config.classes, config.names)

    def segment(self, image: Image, prompt: str) -> Prediction:
        """One segment, or none; its score is the highest of its detections.

        Warns (SlipWarning) of a prompt that ends with no part that the network knows.
        """
        return self.segment_each(image, [prompt])[0]

    def segment_each(self, image: Image, prompts: Sequence[str]) -> list[Prediction]:
        """``segment`` for each of ``prompts``, in their order; the network looks once."""
        wanted = [self._labels.of(prompt) for prompt in prompts]
        for prompt, labels in zip(prompts, wanted, strict=True):
            if not labels:
                self._warn(prompt)
        found = self._found(image, SURE) if any(wanted) else []
        size = image.shape[:2]
        segments = [union(found, labels) for labels in wanted]
        return [
            Prediction(prompt, (segment,) if segment else (), (size[0], size[1]))
            for prompt, segment in zip(prompts, segments, strict=True)
        ]

    def _found(self, image: Image, sure: float) -> list[Detection]:
        height, width = self._config.size_of((image.shape[0], image.shape[1]))
        pixels = torch.from_numpy(resize(image, width, height)).permute(2, 0, 1)
        with torch.inference_mode(), self._compute.autocast():
            size = image.shape[0], image.shape[1]
            return detect(self._network, pixels.to(self._compute.device), size, sure)

    def _warn(self, prompt: str) -> None:
        known = [name for name in self._config.classes if name != "N/A"]
        more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
        warnings.warn(
            f"{self.name} knows no part called {prompt[:40]!r}; it knows {', '.join(known[:NAMED])}{more}",
            SlipWarning,
            stacklevel=3,
        )


class MaskRcnnDetections(MaskRcnnSegmenter):
    """Every prompt is answered by the top 100 detections, whatever they are: what labels could not spoil."""

    def segment_each(self, image: Image, prompts: Sequence[str]) -> list[Prediction]:
        """The same segments for each of ``prompts``, best first; the network looks once."""
        segments = tuple(detection.segment for detection in self._found(image, 0.0))
        return [Prediction(prompt, segments, (image.shape[0], image.shape[1])) for prompt in prompts]


def load_maskrcnn(path: Path, compute: Compute, *, detections: bool = False) -> MaskRcnnSegmenter:
    """The segmenter of a checkpoint (see ``read_maskrcnn``).

    detections: one that answers every prompt with its top 100 detections. Raises WeightsError.
    """
    config, network = read_maskrcnn(path)
    kind = MaskRcnnDetections if detections else MaskRcnnSegmenter
    return kind(network, config, compute, path.name)
