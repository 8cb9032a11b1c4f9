"""CLIPSeg: the network, words and pictures of ``transformers``, answers and checkpoints."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    CLIPTokenizer,
    ViTImageProcessor,
)

from slip.device import Compute
from slip.errors import UsageError, WeightsError
from slip.models import clipseg, load_segmenter
from slip.models.checkpoint import save_checkpoint
from slip.models.clipseg import (
    FULL,
    MEAN,
    SMALL,
    STD,
    ClipSeg,
    ClipSegSegmenter,
    Tower,
    build_clipseg,
    draw_decoder,
    read_clipseg,
    squash,
)
from slip.options import PART_THRESHOLD

CPU = Compute("cpu", "fp32")
TOY = replace(
    SMALL,
    image_size=64,
    places_size=48,
    vision=Tower(32, 64, 5, 2),
    text=Tower(16, 32, 2, 2),
    taps=(0, 2, 3),
    embed_dim=16,
    reduce=16,
    decoder_hidden=32,
)
"""As small as it can be; its places are interpolated, and its last layer is not looked at."""
PROMPTS = ["bird wing", "tail", "blue striped quadruped head"]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def network() -> ClipSeg:
    """With random weights, some of whose answers are neither empty nor all."""
    torch.manual_seed(0)
    network = build_clipseg(TOY)
    draw_decoder(network)
    with torch.no_grad():
        network.decoder.transposed_convolution[-1].weight *= 20
        network.decoder.transposed_convolution[-1].bias.zero_()
    return network


@pytest.fixture(scope="module")
def segmenter(network: ClipSeg) -> ClipSegSegmenter:
    return ClipSegSegmenter(network, CPU, "toy")


@pytest.fixture(scope="module")
def checkpoint(network: ClipSeg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clipseg") / "parts.safetensors"
    save_checkpoint(path, "clipseg", TOY.to_json(), network.state_dict())
    return path


@pytest.fixture(scope="module")
def reference(network: ClipSeg) -> Any:
    """The same weights in the network of ``transformers``."""
    model = CLIPSegForImageSegmentation(TOY.to_transformers()).eval()
    model.load_state_dict(network.state_dict())
    return model


@pytest.fixture(scope="module")
def processor() -> CLIPSegProcessor:
    """As published, with the words of CLIP's own list."""
    words = open_clip.tokenizer.SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(word, word): number for word, number in words.encoder.items()}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=list(words.bpe_ranks))
    size = {"height": TOY.image_size, "width": TOY.image_size}
    pictures = ViTImageProcessor(size=size, image_mean=MEAN, image_std=STD)
    return CLIPSegProcessor(image_processor=pictures, tokenizer=tokenizer)


@pytest.mark.parametrize("size", [(64, 64), (50, 90), (200, 170)])
def test_logits_are_those_of_transformers(
    network: ClipSeg, reference: Any, processor: CLIPSegProcessor, size: tuple[int, int]
) -> None:
    image = picture(*size)
    told = processor(text=PROMPTS, images=[image] * len(PROMPTS), padding=True, return_tensors="pt")
    tokens = open_clip.tokenize(PROMPTS, TOY.context)
    length = told["input_ids"].shape[1]
    assert torch.equal(told["input_ids"][told["attention_mask"] > 0], tokens[tokens > 0])
    assert length < TOY.context
    pixels = squash(image, TOY.image_size)
    assert torch.allclose((pixels / 255 - network.mean) / network.std, told["pixel_values"][0], atol=1e-5)
    with torch.inference_mode():
        expected = reference(**told).logits
        found = network(pixels[None], tokens[None])[0]
    assert expected.std() > 0.5
    assert torch.allclose(found, expected, atol=1e-4)


def test_what_follows_a_text_changes_nothing(network: ClipSeg) -> None:
    tokens = open_clip.tokenize(PROMPTS, TOY.context)
    with torch.inference_mode():
        together, alone = network.read(tokens), torch.cat([network.read(one[None]) for one in tokens])
    assert torch.allclose(together, alone, atol=1e-5)


def test_an_answer_is_what_is_probable(
    segmenter: ClipSegSegmenter, reference: Any, processor: CLIPSegProcessor
) -> None:
    image = picture(80, 60)
    told = processor(text=["tail", "bird wing"], images=[image] * 2, padding=True, return_tensors="pt")
    with torch.inference_mode():
        probable = reference(**told).logits.sigmoid()
    full = torch.nn.functional.interpolate(probable[:, None], (80, 60), mode="bilinear")[1, 0].numpy()
    answer = segmenter.segment(image, "the wing of a bird")
    assert answer.prompt == "the wing of a bird" and len(answer.segments) == 1
    clear = np.abs(full - PART_THRESHOLD) > 1e-4
    assert np.array_equal(answer.segments[0].mask[clear], full[clear] > PART_THRESHOLD)
    assert answer.scores[0] == pytest.approx(full[full > PART_THRESHOLD].mean(), abs=1e-3)


def test_one_prompt_knows_nothing_of_the_others(segmenter: ClipSegSegmenter) -> None:
    image = picture(40, 70)
    assert segmenter.segment_each(image, []) == []
    for together, prompt in zip(segmenter.segment_each(image, PROMPTS), PROMPTS, strict=True):
        alone = segmenter.segment(image, prompt)
        assert together.prompt == prompt and together.scores == alone.scores
        for a, b in zip(together.segments, alone.segments, strict=True):
            assert np.array_equal(a.mask, b.mask)


@pytest.mark.parametrize("size", [(1, 1), (200, 3), (3, 200)])
def test_pictures_of_any_size(segmenter: ClipSegSegmenter, size: tuple[int, int]) -> None:
    answer = segmenter.segment(picture(*size), "head")
    assert answer.image_size == size and all(segment.image_size == size for segment in answer.segments)


@pytest.mark.parametrize("prompt", ["", "wing " * 100])
def test_any_words(segmenter: ClipSegSegmenter, prompt: str) -> None:
    assert segmenter.segment(picture(20, 20), prompt).image_size == (20, 20)


def test_nothing_probable_is_no_segment() -> None:
    torch.manual_seed(0)
    network = build_clipseg(TOY)
    draw_decoder(network)
    answer = ClipSegSegmenter(network, CPU, "toy").segment(picture(30, 20), "wing")
    assert not answer.segments and not answer.found


def test_half_the_precision(network: ClipSeg) -> None:
    answer = ClipSegSegmenter(network, Compute("cpu", "bf16"), "toy").segment(picture(30, 20), "wing")
    assert answer.image_size == (30, 20)


def test_the_full_network_is_the_published_one() -> None:
    with torch.device("meta"):
        own = ClipSeg(FULL).state_dict()
        config = CLIPSegConfig(vision_config={"patch_size": 16}, use_complex_transposed_convolution=True)
        published = CLIPSegForImageSegmentation(config).state_dict()
    assert {name: tensor.shape for name, tensor in own.items()} == {
        name: tensor.shape for name, tensor in published.items()
    }
    assert 4 * sum(tensor.numel() for tensor in own.values()) // 1_000_000 == 602


@pytest.mark.parametrize("counters", [True, False])
def test_a_published_file_is_read(
    reference: Any, counters: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = dict(reference.state_dict())
    if counters:  # as transformers wrote them before
        state["clip.text_model.embeddings.position_ids"] = torch.arange(TOY.context)[None]
        state["clip.vision_model.embeddings.position_ids"] = torch.arange(10)[None]
    torch.save(state, tmp_path / "pytorch_model.bin")
    monkeypatch.setattr(clipseg, "FULL", TOY)
    read = read_clipseg(tmp_path / "pytorch_model.bin")
    assert read.config == TOY and not read.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in read.state_dict().items())


def test_a_checkpoint_comes_back(checkpoint: Path, segmenter: ClipSegSegmenter) -> None:
    assert read_clipseg(checkpoint).config == TOY
    again = load_segmenter("clipseg", str(checkpoint.with_suffix("")), CPU)
    image = picture(64, 64)
    one, other = again.segment(image, "wing").best, segmenter.segment(image, "wing").best
    assert np.mean(one.mask == other.mask) > 0.95  # weights are kept in half precision


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 60},
        {"image_size": 0},
        {"places_size": 1 << 20},
        {"context": 500},
        {"taps": []},
        {"taps": [9]},
        {"taps": ["1"]},
        {"taps": 3},
        {"vision": {**asdict(TOY.vision), "heads": 5}},
        {"vision": {**asdict(TOY.vision), "attn_implementation": "elsewhere/kernel"}},
        {"vision": 7},
        {"text": {**asdict(TOY.text), "width": 1.5}},
        {"decoder_heads": 3},
        {"reduce": 32},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_hostile_configuration(checkpoint: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "hostile.safetensors"
    save_checkpoint(path, "clipseg", {**TOY.to_json(), **change}, load_file(checkpoint))
    with pytest.raises(WeightsError) as refused:
        read_clipseg(path)
    assert len(str(refused.value).splitlines()) == 1


def test_other_files_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    state = load_file(checkpoint)
    spoilt = {**state, "decoder.film_mul.bias": torch.full((TOY.reduce,), torch.nan)}
    save_checkpoint(tmp_path / "nan.safetensors", "clipseg", TOY.to_json(), spoilt)
    save_checkpoint(tmp_path / "cris.safetensors", "cris", TOY.to_json(), state)
    save_file(state, tmp_path / "plain.safetensors")
    (tmp_path / "text.bin").write_text("no weights")
    for name, reason in {
        "nan.safetensors": "NaN",
        "cris.safetensors": "expected a clipseg checkpoint",
        "plain.safetensors": "no SLIP checkpoint",
        "text.bin": "can be read safely",
        "missing.bin": "cannot read",
    }.items():
        with pytest.raises(WeightsError, match=reason):
            read_clipseg(tmp_path / name)


def test_without_the_library(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"CLIPSeg needs transformers.*pip install"):
        read_clipseg(checkpoint)
