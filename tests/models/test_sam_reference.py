"""``ReferenceProposer`` against the generator it wraps."""

from __future__ import annotations

import pytest
import torch
from models.toy_sam import ALL, picture, toy
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam

from slip.device import Compute
from slip.masks import decode_rle
from slip.models.sam.reference import ReferenceProposer

CPU = Compute("cpu", "fp32")


@pytest.fixture(scope="module")
def sam() -> Sam:
    return toy()


@pytest.mark.parametrize("size", [(48, 64), (64, 64), (128, 32)])
def test_segments_are_those_of_the_library(sam: Sam, size: tuple[int, int]) -> None:
    image = picture(*size)
    generator = SamAutomaticMaskGenerator(
        sam,
        points_per_side=4,
        points_per_batch=6,
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
        output_mode="uncompressed_rle",
    )
    masks = [(decode_rle(record["segmentation"]), record) for record in generator.generate(image)]
    expected = [(mask, record) for mask, record in masks if mask.any()]
    found = ReferenceProposer(sam, ALL, CPU, "toy").propose(image)
    assert len(found) == len(expected) > 1
    for segment, (mask, record) in zip(found, expected, strict=True):
        assert (segment.mask == mask).all()
        assert segment.predicted_iou == record["predicted_iou"]
        assert segment.stability == record["stability_score"]


def test_it_tells_its_progress(sam: Sam) -> None:
    told: list[tuple[str, int, int]] = []
    ReferenceProposer(sam, ALL, CPU, "toy").propose(picture(48, 64), lambda *step: told.append(step))
    assert told == [("propose", done, 16) for done in (0, 6, 12, 16)]


@pytest.mark.filterwarnings("error", "ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("logit", [-20.0, -0.5, float("nan")])
def test_empty_masks_are_dropped(logit: float) -> None:
    sam = toy()
    sam.postprocess_masks = lambda masks, *sizes: torch.full((*masks.shape[:2], 8, 8), logit)
    assert ReferenceProposer(sam, ALL, CPU, "toy").propose(picture(8, 8)) == []


def test_points_are_float32_for_devices_without_float64(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []
    encode = sam.prompt_encoder.forward

    def forward(points: tuple[torch.Tensor, torch.Tensor], *rest: object, **more: object) -> object:
        seen.append(points[0].dtype)
        return encode(points, *rest, **more)

    monkeypatch.setattr(sam.prompt_encoder, "forward", forward)
    ReferenceProposer(sam, ALL, CPU, "toy").propose(picture(48, 64))
    assert set(seen) == {torch.float32}
