"""CRIS: its parts against plain references, its shapes against the published ones, its checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from models.small_cris import CLIP, CRIS, save_cris, small_cris
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

from slip.device import Compute
from slip.errors import UsageError, WeightsError
from slip.models import load_segmenter
from slip.models.checkpoint import save_checkpoint
from slip.models.clip import architecture
from slip.models.cris.config import CrisConfig
from slip.models.cris.decoder import sinusoid, sinusoid_2d
from slip.models.cris.encoders import resized
from slip.models.cris.load import begin_cris, load_cris
from slip.models.cris.neck import with_coordinates
from slip.models.cris.network import Cris
from slip.models.cris.projector import Projector, filtered
from slip.models.cris.segmenter import TOGETHER, CrisSegmenter
from slip.options import PART_THRESHOLD
from slip.types import Image

CPU = Compute("cpu", "fp32")


@pytest.fixture(scope="module")
def network() -> Cris:
    return small_cris()


@pytest.fixture(scope="module")
def segmenter(network: Cris) -> CrisSegmenter:
    return CrisSegmenter(network, CPU, "small")


def tokens(*texts: str, length: int = CRIS.words) -> Tensor:
    found: Tensor = open_clip.tokenize(list(texts), length)
    return found


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("name", "c5", "parameters"), [("RN50", 1024, 146_849_122), ("RN101", 512, 161_251_682)], ids=str
)
def test_published_shapes(name: str, c5: int, parameters: int) -> None:
    config = CrisConfig({**architecture(name), "quick_gelu": True})
    with torch.device("meta"):
        network = Cris(config)
        pixels, asked = torch.zeros(1, 3, 416, 416), torch.ones(2, 17, dtype=torch.long)
        c3, c4, pooled = network.encoders.image(pixels)
        assert (c3.shape[1:], c4.shape[1:]) == ((512, 52, 52), (1024, 26, 26))
        assert pooled.shape[1:] == (c5, 13, 13)
        words, sentence = network.encoders.text(asked)
        assert (words.shape, sentence.shape) == ((2, 17, 512), (2, c5))
        seen = network.neck.see(c3, c4, pooled).repeated(2)
        fused = network.neck(seen, sentence)
        assert fused.shape == (2, 512, 26, 26)
        assert network.decoder(fused, words, asked == 0).shape == (2, 512, 26, 26)
        assert network.projector(fused, sentence).shape == (2, 104, 104)
        assert network.projector.filters.out_features == 256 * 9 + 1
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_the_attention_pool_asks_at_every_position(network: Cris) -> None:
    pool = network.encoders.clip.visual.attnpool
    features = torch.randn(2, 256, 2, 2, generator=torch.Generator().manual_seed(1))
    found = network.encoders._pooled(features)
    tokens = features.flatten(2).transpose(1, 2) + pool.positional_embedding[1:]
    heads, width = pool.num_heads, 256 // pool.num_heads
    query, key, value = (
        projection(tokens).reshape(2, 4, heads, width).transpose(1, 2)
        for projection in (pool.q_proj, pool.k_proj, pool.v_proj)
    )
    weights = (query @ key.transpose(-1, -2) / math.sqrt(width)).softmax(-1)
    mixed = pool.c_proj((weights @ value).transpose(1, 2).reshape(2, 4, 256))
    torch.testing.assert_close(found, mixed.transpose(1, 2).reshape(2, 16, 2, 2), atol=1e-5, rtol=1e-4)


def test_the_position_embedding_loses_its_class_token_and_is_resized_bicubically() -> None:
    embedding = torch.randn(10, 5)
    assert torch.equal(resized(embedding, 3, 3), embedding[1:])
    grid = embedding[1:].T.reshape(1, 5, 3, 3)
    wanted = interpolate(grid, (4, 6), mode="bicubic", align_corners=False)[0].flatten(1).T
    assert torch.equal(resized(embedding, 4, 6), wanted)


def test_texts_are_clips_own(network: Cris) -> None:
    clip = network.encoders.clip
    asked = tokens("bird wing", "the tail of a fish", length=20)
    words, sentence = network.encoders.text(asked)
    torch.testing.assert_close(sentence, clip.encode_text(asked), atol=1e-6, rtol=1e-5)
    shorter, same = network.encoders.text(asked[:, :9])
    torch.testing.assert_close(same, sentence, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(shorter, words[:, :9], atol=1e-5, rtol=1e-5)


def test_filters_are_a_grouped_convolution() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels, filters, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((3, 4, 5, 7), (3, 4, 9), (3,))
    )
    wanted = conv2d(pixels.reshape(1, 12, 5, 7), filters.reshape(3, 4, 3, 3), bias, padding=1, groups=3)[0]
    found = filtered(pixels, filters, bias)
    torch.testing.assert_close(found, wanted)
    ours = torch.autograd.grad(found.square().sum(), (pixels, filters, bias))
    theirs = torch.autograd.grad(wanted.square().sum(), (pixels, filters, bias))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_each_sentence_has_its_own_filter() -> None:
    torch.manual_seed(0)
    projector = Projector(6, 8).eval()
    features, sentences = torch.randn(2, 8, 3, 3), torch.randn(2, 6)
    together = projector(features, sentences)
    for index in range(2):
        alone = projector(features[index : index + 1], sentences[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(projector(features[:1], sentences[1:]), together[:1])


def test_coordinates_run_from_corner_to_corner() -> None:
    found = with_coordinates(torch.zeros(1, 2, 3, 5))
    assert found.shape == (1, 4, 3, 5)
    assert found[0, 2, 1].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert found[0, 3, :, 4].tolist() == [-1, 0, 1]


def test_sinusoids_against_the_formula() -> None:
    found = sinusoid(6, torch.arange(4))
    for place in range(4):
        for channel in range(6):
            angle = place / 10000 ** (channel // 2 * 2 / 6)
            wanted = math.sin(angle) if channel % 2 == 0 else math.cos(angle)
            assert found[place, channel] == pytest.approx(wanted, abs=1e-6)
    grid = sinusoid_2d(8, 2, 3).reshape(2, 3, 8)
    assert torch.equal(grid[0, :, :4], grid[1, :, :4]) and torch.equal(grid[:, 0, 4:], grid[:, 2, 4:])
    assert torch.equal(grid[0, :, :4], sinusoid(4, torch.arange(3)))


def test_words_beyond_the_end_are_not_heard(network: Cris) -> None:
    torch.manual_seed(1)
    features, words = torch.randn(1, 16, 4, 4), torch.randn(1, 12, 16)
    padding = tokens("wing") == 0
    found = network.decoder(features, words, padding)
    noisy = torch.where(padding[..., None], torch.randn_like(words), words)
    torch.testing.assert_close(network.decoder(features, noisy, padding), found)
    other = torch.where(padding[..., None], words, torch.randn_like(words))
    assert not torch.allclose(network.decoder(features, other, padding), found)


def test_expressions_asked_together_or_alone(network: Cris) -> None:
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    asked = tokens("wing", "a long tail", "bird head", "leg").reshape(2, 2, -1)
    with torch.inference_mode():
        together = network(pixels, asked)
        assert together.shape == (2, 2, 16, 16)
        for picture in range(2):
            for place in range(2):
                alone = network(pixels[picture][None], asked[picture, place][None, None])
                torch.testing.assert_close(alone[0, 0], together[picture, place], atol=1e-5, rtol=1e-4)


class TestSegmenter:
    @pytest.mark.parametrize("size", [(40, 64), (64, 64), (1, 1), (3, 200), (200, 3), (90, 61)], ids=str)
    def test_answers_fit_the_picture(self, segmenter: CrisSegmenter, size: tuple[int, int]) -> None:
        for prediction in segmenter.segment_each(noise(*size), ["wing", "head"]):
            assert prediction.image_size == size
            assert len(prediction.segments) <= 1
            for segment in prediction.segments:
                assert segment.mask.shape == size and segment.mask.any()
                assert PART_THRESHOLD < (segment.score or 0) <= 1

    def test_how_many_are_asked_changes_nothing(self, segmenter: CrisSegmenter) -> None:
        image, prompts = noise(50, 70), [f"wing {number}" for number in range(TOGETHER + 3)]
        together = segmenter.segment_each(image, prompts)
        assert [one.prompt for one in together] == prompts
        for prompt, found in zip(prompts, together, strict=True):
            alone = segmenter.segment(image, prompt)
            assert found.scores == pytest.approx(alone.scores, abs=1e-5)
            if alone.segments:
                assert (found.segments[0].mask != alone.segments[0].mask).mean() < 1e-3

    def test_wordings_that_mean_the_same(self, segmenter: CrisSegmenter) -> None:
        ways = ["bird wing", "the bird's wing", "Wing of the bird", "the wing of a bird"]
        first, *others = segmenter.segment_each(noise(50, 70), ways)
        for other in others:
            assert other.scores == pytest.approx(first.scores, abs=1e-5)

    def test_nothing_asked(self, segmenter: CrisSegmenter) -> None:
        assert segmenter.segment_each(noise(8, 8), []) == []

    def test_the_padding_is_no_answer(self, network: Cris) -> None:
        everywhere = small_cris()
        with torch.no_grad():
            everywhere.projector.filters.weight.zero_()
            everywhere.projector.filters.bias.zero_()
            everywhere.projector.filters.bias[-1] = 3.0
        found = CrisSegmenter(everywhere, CPU, "all").segment(noise(20, 60), "wing").best
        assert found.mask.all() and found.score == pytest.approx(1 / (1 + math.exp(-3)), abs=1e-4)


class TestCheckpoints:
    def test_round_trip(self, tmp_path: Path, segmenter: CrisSegmenter) -> None:
        save_cris(tmp_path / "parts.safetensors")
        loaded = load_segmenter("cris", str(tmp_path / "parts"), CPU)
        image = noise(64, 64)
        found, wanted = loaded.segment(image, "wing"), segmenter.segment(image, "wing")
        assert found.scores == pytest.approx(wanted.scores, abs=1e-2)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"image_size": 65},
            {"image_size": 0},
            {"heads": 3},
            {"words": 99},
            {"width": "wide"},
            {"dropout": 1.5},
            {"nonsense": 1},
            {"clip": {}},
            {"clip": {**CLIP, "vision_cfg": {**CLIP["vision_cfg"], "layers": 2}}},
            {"clip": None},
        ],
        ids=str,
    )
    def test_hostile_configurations(self, tmp_path: Path, wrong: dict[str, Any]) -> None:
        path = tmp_path / "bad.safetensors"
        save_checkpoint(path, "cris", {**CRIS.to_json(), **wrong}, {"x": torch.zeros(1)})
        with pytest.raises(WeightsError, match="not a configuration of C"):
            load_cris(path)

    def test_other_weights(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.safetensors"
        state = replace(CRIS, width=32).to_json()
        save_checkpoint(path, "cris", state, small_cris().state_dict())
        with pytest.raises(WeightsError, match="does not fit the CRIS of its configuration"):
            load_cris(path)

    def test_another_kind_or_none(self, tmp_path: Path, tiny_models: list[str]) -> None:
        with pytest.raises(WeightsError, match="is a clip checkpoint; give one of cris"):
            load_segmenter("cris", tiny_models[3], CPU)
        with pytest.raises(WeightsError, match=r"there are no weights at .*slip finetune --method cris"):
            load_segmenter("cris", str(tmp_path / "none"), CPU)


class TestBeginnings:
    def test_it_keeps_the_clip_it_begins_with(self) -> None:
        from slip.models.clip import read_clip

        network, clip = begin_cris("tiny", None, 64), read_clip("tiny")[1]
        for name, tensor in clip.state_dict().items():
            assert torch.equal(network.encoders.clip.state_dict()[name], tensor), name
        assert network.config.image_size == 64

    def test_untaught_logits_are_small(self) -> None:
        torch.manual_seed(0)
        network = begin_cris("tiny", None, 64)
        pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
        logits = network(pixels, tokens("wing", "head", length=17).reshape(2, 1, -1))
        assert logits.abs().max() < 5

    def test_what_cannot_be_begun_with(self, tiny_models: list[str]) -> None:
        with pytest.raises(UsageError, match="has no ModifiedResNet"):
            begin_cris(tiny_models[3], None)
        for size in (32, 100):
            with pytest.raises(UsageError, match="choose a multiple of 32, from 64"):
                begin_cris("tiny", None, size)
