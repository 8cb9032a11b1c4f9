"""``encode_image`` against segment_anything's image encoder, on the same weights."""

from __future__ import annotations

import pytest
import torch
from models.toy_sam import picture, toy
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from torch import Tensor

from slip.device import Compute
from slip.models.sam import encoder, load_sam
from slip.models.sam.encoder import encode_image
from slip.models.sam.resize import Resize
from slip.types import Image

CPU = Compute("cpu", "fp32")
ENCODERS = {
    "toy": {},
    "windows that need padding": {"window_size": 3},
    "a window larger than the picture": {"window_size": 11},
    "windows only": {"global_attn_indexes": []},
    "global only": {"global_attn_indexes": [0, 1], "num_heads": 4},
    "without relative positions": {"use_rel_pos": False},
}
EXACT = 2e-5
"""How far rounding in float32 may go, in standard deviations of the embedding."""
ROUGH = 0.1
"""The same for products of bfloat16, of 8 significant bits."""


@pytest.fixture(scope="module", params=[*ENCODERS, "tiny"])
def sam(request: pytest.FixtureRequest) -> Sam:
    return load_sam("tiny") if request.param == "tiny" else toy(**ENCODERS[request.param])


def library(sam: Sam, image: Image) -> tuple[Tensor, tuple[int, int]]:
    predictor = SamPredictor(sam)
    predictor.transform = Resize(sam.image_encoder.img_size)
    predictor.set_image(image)
    return predictor.get_image_embedding()[0], predictor.input_size


def check_close(sam: Sam, image: Image, tolerance: float = EXACT, compute: Compute = CPU) -> None:
    ours, seen = encode_image(sam, image, compute)
    theirs, expected = library(sam, image)
    assert seen == tuple(expected)
    assert ours.dtype == torch.float32 and ours.shape == theirs.shape
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() < tolerance * theirs.std()


def test_embeddings_are_the_librarys(sam: Sam) -> None:
    check_close(sam, picture(48, 64))


def test_in_bfloat16_they_are_near(sam: Sam) -> None:
    check_close(sam, picture(48, 64), ROUGH, Compute("cpu", "bf16"))


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (1, 300), (300, 1), (200, 90), (7, 5)], ids=str)
def test_pictures_of_all_sizes(size: tuple[int, int]) -> None:
    check_close(toy(), picture(*size))


@pytest.mark.parametrize("scores", [1, 8, 200, 600, 4096, 5000, 2**40])
def test_pieces_of_any_size_make_the_same(sam: Sam, scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one row of pixels in one head to everything at once."""
    monkeypatch.setattr(encoder, "SCORES", encoder.SCORES._replace(on_cpu=scores))
    check_close(sam, picture(48, 64))
