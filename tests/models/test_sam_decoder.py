"""``PointDecoder`` against segment_anything's prompt encoder and mask decoder, on the same weights."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from models.toy_sam import points_of, toy
from segment_anything.modeling import Sam
from torch import Tensor

from slip.models.sam import load_sam
from slip.models.sam.decoder import Answers, PointDecoder

OFFICIAL = {
    "out_chans": 256,
    "mask_in_chans": 16,
    "decoder_depth": 2,
    "decoder_heads": 8,
    "decoder_mlp_dim": 2048,
    "iou_head_depth": 3,
    "iou_head_hidden_dim": 256,
}
"""The published decoder; the image before it may be small."""
DECODERS = {
    "toy": {},
    "three layers": {"decoder_depth": 3, "decoder_heads": 4},
    "one head": {"decoder_depth": 2, "decoder_heads": 1},
    "official": OFFICIAL,
}
EXACT = 2e-5
"""How far rounding in float32 may go, in standard deviations of all logits, or of all predicted IoUs."""
ROUGH = 0.1
"""The same where the image side is bfloat16, of 8 significant bits."""
COUNT = 9


@dataclass(frozen=True, eq=False)
class Case:
    """A SAM, an image embedding, points, and what the library says of them."""

    sam: Sam
    embedding: Tensor
    points: Tensor
    logits: Tensor
    predicted_iou: Tensor


def library(sam: Sam, embedding: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Logits ``(B, 3, 4h, 4w)`` and predicted IoU ``(B, 3)`` of segment_anything."""
    sparse, dense = sam.prompt_encoder((points[:, None], torch.ones(len(points), 1)), None, None)
    return sam.mask_decoder(embedding[None], sam.prompt_encoder.get_dense_pe(), sparse, dense, True)


def case_of(sam: Sam) -> Case:
    side, width = sam.prompt_encoder.image_embedding_size, sam.prompt_encoder.embed_dim
    embedding = torch.randn(width, *side, generator=torch.Generator().manual_seed(1))
    points = points_of(sam, COUNT)
    with torch.inference_mode():
        return Case(sam, embedding, points, *library(sam, embedding, points))


@pytest.fixture(scope="module", params=[*DECODERS, "tiny"])
def case(request: pytest.FixtureRequest) -> Case:
    return case_of(load_sam("tiny") if request.param == "tiny" else toy(**DECODERS[request.param]))


def asked(case: Case, dtype: torch.dtype = torch.float32) -> tuple[PointDecoder, Answers]:
    decoder = PointDecoder(case.sam, dtype)
    with torch.inference_mode():
        return decoder, decoder.answer(decoder.image_side(case.embedding), case.points)


def logits(decoder: PointDecoder, answers: Answers, wanted: Tensor) -> Tensor:
    with torch.inference_mode():
        return decoder.logits(answers, wanted)


EVERYTHING = torch.ones(COUNT, 3, dtype=torch.bool)


def check_close(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    decoder, answers = asked(case, dtype)
    ours, theirs = logits(decoder, answers, EVERYTHING), case.logits.flatten(0, 1)
    assert ours.dtype == answers.predicted_iou.dtype == torch.float32
    assert ours.shape == theirs.shape
    assert case.logits.std(0).min() > 0 and case.predicted_iou.std() > 0.1, "all points have one answer"
    assert (ours - theirs).abs().max() < tolerance * theirs.std()
    difference = (answers.predicted_iou - case.predicted_iou).abs().max()
    assert difference < tolerance * case.predicted_iou.std()


def test_logits_and_predicted_iou_are_the_librarys(case: Case) -> None:
    check_close(case, torch.float32, EXACT)


def test_in_bfloat16_they_are_near(case: Case) -> None:
    check_close(case, torch.bfloat16, ROUGH)


def test_the_picture_is_seen_once_for_all_points(case: Case) -> None:
    decoder = PointDecoder(case.sam, torch.float32)
    with torch.inference_mode():
        view = decoder.image_side(case.embedding)
        together = decoder.answer(view, case.points)
        singly = [decoder.answer(view, point[None]) for point in case.points]
    channels, height, width = case.embedding.shape
    heads = case.sam.mask_decoder.transformer.num_heads
    assert view.pixels.shape == view.position.shape == (height * width, channels)
    assert {shared.shape[:2] for shared in (view.keys, view.values, view.queries)} == {
        (heads, height * width)
    }
    for name in ("predicted_iou", "tokens", "pixels"):
        joined = torch.cat([getattr(answers, name) for answers in singly])
        torch.testing.assert_close(getattr(together, name), joined, rtol=0, atol=EXACT * joined.std().item())


def test_only_wanted_masks_are_made(case: Case) -> None:
    decoder, answers = asked(case)
    every = logits(decoder, answers, EVERYTHING).view(COUNT, 3, *case.logits.shape[2:])
    wanted = torch.rand(COUNT, 3, generator=torch.Generator().manual_seed(3)) < 0.4
    wanted[2], wanted[5] = False, True
    unseen = ~wanted.any(1)
    assert unseen.any()
    with torch.inference_mode():
        answers.pixels[unseen] = torch.nan
        answers.tokens[unseen] = torch.nan
    some = logits(decoder, answers, wanted)
    assert some.shape == (int(wanted.sum()), *case.logits.shape[2:])
    torch.testing.assert_close(some, every[wanted], rtol=0, atol=EXACT * every.std().item())


def test_nothing_wanted_makes_nothing(case: Case) -> None:
    decoder, answers = asked(case)
    assert logits(decoder, answers, ~EVERYTHING).shape == (0, *case.logits.shape[2:])


def test_pictures_do_not_leave_traces(case: Case) -> None:
    decoder, answers = asked(case)
    with torch.inference_mode():
        decoder.answer(decoder.image_side(torch.zeros_like(case.embedding)), case.points)
        again = decoder.answer(decoder.image_side(case.embedding), case.points)
    assert torch.equal(again.predicted_iou, answers.predicted_iou)
    assert torch.equal(again.pixels, answers.pixels)
