"""How far two ways to search a picture agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from torch import Tensor

from recipes.evaluate import Remembered
from slip.device import Compute
from slip.evaluation.scores import Share
from slip.masks import segment_iou
from slip.models.sam.decoder import PointDecoder
from slip.models.sam.encoder import encode_image
from slip.models.sam.fullsize import Found, FullSize
from slip.models.sam.points import Grid
from slip.models.sam.resize import Resize
from slip.pipeline.slip import Slip
from slip.types import Encoder, Image, Mask, Segment

GOOD = 0.9
"""IoU from which on two masks count as the same."""


def nearest(wanted: Sequence[Segment], found: Sequence[Segment]) -> list[float]:
    """For each of ``wanted`` the IoU of the mask in ``found`` that is most like it; 0 where there is none.

    1 says that the very same mask is there.
    """
    return [_nearest(segment, found) for segment in wanted]


def _nearest(segment: Segment, found: Sequence[Segment]) -> float:
    best = 0.0
    for other in found:
        small, large = sorted((segment.area, other.area))
        if small > best * large:  # no IoU is above the ratio of the areas
            best = max(best, segment_iou(segment, other))
    return best


def chosen(
    image: Image, segments: Sequence[Segment], encoder: Encoder, prompts: Sequence[str]
) -> list[Segment | None]:
    """The mask that each prompt chooses among ``segments``; None where there is none."""
    slip = Slip(Remembered(list(segments)), encoder)
    return [next(iter(prediction.segments), None) for prediction in slip.segment_each(image, prompts)]


def same_choice(a: Segment | None, b: Segment | None) -> float:
    """IoU of two chosen masks; 1 where neither is there, 0 where one is."""
    if a is None or b is None:
        return float(a is b)
    return segment_iou(a, b)


@dataclass
class Agreement:
    """IoUs with the reference, over many pictures. masks: of each of its masks; prompts: of each choice."""

    masks: list[float] = field(default_factory=list)
    prompts: list[float] = field(default_factory=list)

    @property
    def contained(self) -> Share | None:
        """Which of the reference's masks are there."""
        return Share.of(iou >= GOOD for iou in self.masks)

    @property
    def identical(self) -> Share | None:
        """Which of the reference's masks are there to the pixel."""
        return Share.of(iou == 1 for iou in self.masks)

    @property
    def choices(self) -> Share | None:
        """Which prompts choose the same mask."""
        return Share.of(iou >= GOOD for iou in self.prompts)

    @property
    def identical_choices(self) -> Share | None:
        """Which prompts choose the same mask to the pixel."""
        return Share.of(iou == 1 for iou in self.prompts)


@dataclass(frozen=True, eq=False)
class Sample:
    """Every mask of some points before any filter, ours in fp32.

    size: (height, width) of the picture. points: ``float32 (B, 2)`` in SAM's input.
    predicted_iou: ``float32 (B, 3)``.
    found: B times 3 masks; None for an empty one.
    """

    size: tuple[int, int]
    points: Tensor
    predicted_iou: Tensor
    found: list[Found | None]


@torch.inference_mode()
def sample(sam: Sam, image: Image, per_side: int) -> Sample:
    """What our decoder says at a grid of points."""
    size = image.shape[0], image.shape[1]
    embedding, seen = encode_image(sam, image, Compute("cpu", "fp32"))
    side = sam.image_encoder.img_size
    points = torch.as_tensor(Resize(side).apply_coords(Grid(per_side, size).places, size))
    decoder = PointDecoder(sam, torch.float32)
    answers = decoder.answer(decoder.image_side(embedding), points)
    low = 4 * embedding.shape[1], 4 * embedding.shape[2]
    full = FullSize(low, side, seen, size, sam.mask_threshold, embedding.device)
    everything = torch.ones_like(answers.predicted_iou, dtype=torch.bool)
    return Sample(size, points, answers.predicted_iou, full.find(decoder.logits(answers, everything), 0.0))


def against_library(sam: Sam, image: Image, ours: Sample) -> str:
    """How far the sample differs from what the library says of the same points, in one line."""
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    labels = torch.ones(len(ours.points), 1, dtype=torch.int)
    masks, predicted_iou, _ = predictor.predict_torch(ours.points[:, None], labels)
    differing = [
        np.count_nonzero(mask ^ whole(found, ours.size)) / mask.size
        for mask, found in zip(masks.flatten(0, 1).numpy(), ours.found, strict=True)
    ]
    ious = (ours.predicted_iou - predicted_iou).abs().max()
    same, points = differing.count(0.0), len(ours.points)
    return (
        f"{len(differing)} masks of {points} points before any filter, fp32: {same} identical, at most "
        f"{max(differing):.2e} of a mask's pixels differ, predicted IoU by at most {ious:.1e}"
    )


def whole(found: Found | None, size: tuple[int, int]) -> Mask:
    """The mask in a picture of ``size``."""
    mask = np.zeros(size, bool)
    if found:
        mask[found.box.slices] = found.patch
    return mask
