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
from torch import Tensor, nn
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


def test_a_decoder_layer_by_the_letter(network: Cris) -> None:
    """Pre-norm, places on queries and keys alone, another norm behind each attention."""
    torch.manual_seed(3)
    layer = network.decoder.layers[0]
    pixels, words, places = torch.randn(2, 9, 16), torch.randn(2, 12, 16), torch.randn(9, 16)
    keys, padding = words + torch.randn(12, 16), torch.zeros(2, 12, dtype=torch.bool)
    padding[:, 7:] = True

    def attend(attention: nn.MultiheadAttention, asked: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if attention.in_proj_weight is not None:
            weights = attention.in_proj_weight.chunk(3)
        else:
            weights = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
        heads = [
            (part @ weight.T + bias).unflatten(-1, (2, 8)).transpose(1, 2)
            for part, weight, bias in zip(
                (asked, key, value), weights, attention.in_proj_bias.chunk(3), strict=True
            )
        ]
        scores = heads[0] @ heads[1].transpose(-1, -2) / math.sqrt(8)
        if key.shape[1] == 12:
            scores = scores.masked_fill(padding[:, None, None], -math.inf)
        return attention.out_proj((scores.softmax(-1) @ heads[2]).transpose(1, 2).flatten(2))

    with torch.inference_mode():
        normed = layer.before_own(pixels)
        wanted = pixels + layer.after_own(attend(layer.own, normed + places, normed + places, normed))
        asked = layer.before_cross(wanted) + places
        wanted = wanted + layer.after_cross(attend(layer.cross, asked, keys, words))
        wanted = wanted + layer.feed(layer.before_feed(wanted))
        found = layer(pixels, words, keys, places, padding)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_the_neck_by_the_letter(network: Cris) -> None:
    torch.manual_seed(4)
    neck = network.neck
    c3, c4, c5 = torch.randn(1, 64, 8, 8), torch.randn(1, 128, 4, 4), torch.randn(1, 16, 2, 2)
    sentence = torch.randn(1, 16)

    def up(features: Tensor) -> Tensor:
        return interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)

    with torch.inference_mode():
        f5 = neck.joined(neck.c5(c5) * neck.sentence(sentence)[:, :, None, None])
        f4 = neck.f4(torch.cat([neck.c4(c4), up(f5)], 1))
        halved = neck.c3(c3).unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5))
        f3 = neck.f3(torch.cat([halved, f4], 1))
        merged = neck.merged(torch.cat([up(neck.from_5(f5)), neck.from_4(f4), neck.from_3(f3)], 1))
        wanted = neck.placed(with_coordinates(merged))
        found = neck(neck.see(c3, c4, c5), sentence)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert [part[0].kernel_size for part in (neck.c3, neck.c4, neck.c5, neck.f4, neck.merged)] == [
        *((3, 3), (3, 3), (1, 1)),
        *((1, 1), (1, 1)),
    ]


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
        shares = [found.segments[0].area / (50 * 70) if found.segments else 0.0 for found in together]
        assert any(0.02 < share < 0.98 for share in shares), "there is something to tell apart"
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

    @pytest.mark.parametrize("size", [(32, 64), (64, 32), (128, 96), (40, 100)], ids=str)
    def test_an_answer_lies_where_the_logits_are(
        self, segmenter: CrisSegmenter, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
    ) -> None:
        """A block of the square, in cells of four pixels, is found at its place in the picture."""
        height, width = size
        scale = 64 / max(size)
        top, left = (64 - height * scale) / 2, (64 - width * scale) / 2
        rows, columns = slice(6, 9), slice(7, 12)
        logits = torch.full((1, 16, 16), -9.0)
        logits[0, rows, columns] = 9.0
        monkeypatch.setattr(segmenter._network, "ask", lambda seen, read: logits)
        mask = segmenter.segment(noise(height, width), "wing").best.mask
        ys, xs = np.nonzero(mask)
        slack = 2 / scale
        found = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
        wanted = [
            (4 * end - offset) / scale
            for ends, offset in ((rows, top), (columns, left))
            for end in (ends.start, ends.stop)
        ]
        assert np.abs(np.subtract(found, wanted)).max() <= slack, (found, wanted)

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
