"""CLIP's features without its last pooling."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from torch import nn

from slip.data.critters.scenes import make_scene
from slip.device import Compute
from slip.errors import UsageError
from slip.models import load_encoder
from slip.models.dense import dense_features, dense_side
from slip.models.sam.points import Grid

CPU = Compute("cpu", "fp32")
TEXT = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}


def clip(**vision) -> open_clip.CLIP:
    torch.manual_seed(0)
    model = open_clip.CLIP(8, {"image_size": 32, **vision}, TEXT).eval()
    with torch.no_grad():
        for parameter in model.visual.parameters():
            parameter.normal_(0, 0.3)
    return model


@pytest.fixture(scope="module")
def convolutional():
    return clip(layers=(1, 1, 1, 1), width=8).visual


@pytest.fixture(scope="module")
def transformer():
    return clip(layers=3, width=16, head_width=8, patch_size=8).visual


@torch.no_grad()
def test_one_place_is_what_the_pooling_of_it_gives(convolutional):
    pixels = torch.randn(2, 3, 32, 32)
    places = convolutional.attnpool.positional_embedding
    places.zero_()
    assert torch.allclose(dense_features(convolutional, pixels)[:, 0, 0], convolutional(pixels), atol=1e-5)


@torch.no_grad()
def test_places_of_a_transformer_attend_to_themselves_alone(transformer):
    pixels, seen = torch.randn(2, 3, 32, 32), []
    last = transformer.transformer.resblocks[-1]
    hook = last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    transformer(pixels)
    hook.remove()
    normed = last.ln_1(seen[0])
    alone = torch.full((17, 17), -torch.inf).fill_diagonal_(0)
    attended, _ = last.attn(normed, normed, normed, attn_mask=alone, need_weights=False)
    expected = (transformer.ln_post(attended) @ transformer.proj)[:, 1:].unflatten(1, (4, 4))
    assert torch.allclose(dense_features(transformer, pixels), expected, atol=1e-5)


@torch.no_grad()
def test_a_convolutional_tower_is_shown_twelve_places_a_side(convolutional):
    side = dense_side(convolutional, 32)
    assert dense_features(convolutional, torch.randn(1, 3, side, side)).shape == (1, 12, 12, 8)


def test_a_transformer_is_shown_its_own_size(transformer):
    assert dense_side(transformer, 32) == 32


def test_other_towers_are_refused():
    with pytest.raises(UsageError, match="Linear has no dense features; choose --points adaptive"):
        dense_features(nn.Linear(2, 2), torch.zeros(1))


def test_a_transformer_of_one_block_is_refused():
    with pytest.raises(UsageError, match="VisionTransformer has no dense features"):
        dense_features(clip(layers=1, width=16, head_width=8, patch_size=8).visual, torch.zeros(1, 3, 32, 32))


def test_features_are_unit_vectors_of_any_picture():
    encoder = load_encoder("tiny", None, CPU)
    image = np.random.default_rng(0).integers(0, 256, (40, 90, 3), np.uint8)
    features = encoder.encode_dense(image)
    assert features.shape[:2] == (12, 12) and features.dtype == np.float32
    assert features.shape[2] == encoder.encode_text(["a"]).shape[1]
    assert np.allclose(np.linalg.norm(features, axis=2), 1, atol=1e-5)


def test_the_built_in_clip_knows_where_a_critter_is():
    """Of 32 prompts, nearly all have a likely point inside the right critter."""
    encoder, hits = load_encoder("tiny", None, CPU), []
    for seed in range(980_000, 980_008):
        scene = make_scene(seed)
        places = encoder.encode_dense(scene.image)
        grid = Grid(16, scene.image.shape[:2])
        x, y = grid.places.astype(int).T
        for critter in scene.critters:
            likely = grid.likely(places @ encoder.encode_text([critter.caption])[0])
            assert likely.sum() == 64
            hits.append(scene.mask(critter)[y[likely], x[likely]].any())
    assert len(hits) == 32 and np.mean(hits) >= 0.95
