"""The paper's dual encoder: its parts, its words, its checkpoints."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeProposer
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import resnet50
from training.small_paper import SIMPLE_CLIP, save_simple_clip

from slip.device import Compute
from slip.errors import SlipWarning, UsageError, WeightsError
from slip.models import check_encoder, load_encoder, simple_clip
from slip.models.checkpoint import save_checkpoint
from slip.models.simple_clip import (
    ProjectionHead,
    Shape,
    SimpleClip,
    Tokenizer,
    build_simple_clip,
    fetch_published,
    load_simple_clip,
    take_published,
    vocabulary_of,
)
from slip.pipeline.choices import choose_models
from slip.pipeline.slip import Slip

CPU = Compute("cpu", "fp32")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_simple_clip(tmp_path_factory.mktemp("simple") / "birds.safetensors")


@pytest.fixture(scope="module")
def model() -> SimpleClip:
    torch.manual_seed(0)
    return build_simple_clip(SIMPLE_CLIP)


def test_the_defaults_are_the_papers_networks() -> None:
    config = replace(SIMPLE_CLIP, shape=Shape(), embed_dim=128)
    with torch.device("meta"):
        built = SimpleClip(config)
        reference = resnet50()
    reference.fc = nn.Identity()
    shapes = {name: tensor.shape for name, tensor in built.image.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in reference.state_dict().items()}
    layers = [name for name in built.text.state_dict() if name.endswith("attention.q_lin.weight")]
    assert len(layers) == 6
    assert built.text.state_dict()[layers[0]].shape == (768, 768)
    assert built.image_head.projection.weight.shape == (128, 2048)
    assert built.text_head.projection.weight.shape == (128, 768)


def test_the_head_is_the_formula() -> None:
    torch.manual_seed(0)
    head, features = ProjectionHead(6, 4), torch.randn(5, 6)
    p = features @ head.projection.weight.T + head.projection.bias
    gelu = p * (1 + torch.erf(p / 2**0.5)) / 2
    added = gelu @ head.inner.weight.T + head.inner.bias + p
    mean, variance = added.mean(1, keepdim=True), added.var(1, keepdim=True, unbiased=False)
    torch.testing.assert_close(head(features), (added - mean) / (variance + 1e-5).sqrt())


def test_features_are_not_normalised(model: SimpleClip) -> None:
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    tokens = Tokenizer(SIMPLE_CLIP.vocabulary, 16)(["a red bird", "a fish"])
    images, texts = model(pixels, tokens)
    assert (images.norm(dim=-1) > 2).all()
    assert (texts.norm(dim=-1) > 2).all()


def test_the_first_token_is_read_and_padding_is_not(model: SimpleClip) -> None:
    alone = Tokenizer(SIMPLE_CLIP.vocabulary, 16)(["a fish"])
    beside = Tokenizer(SIMPLE_CLIP.vocabulary, 16)(["a fish", "a red bird with a red tail"])
    assert beside.shape[-1] > alone.shape[-1]
    with torch.inference_mode():
        torch.testing.assert_close(model.texts(beside)[:1], model.texts(alone), atol=1e-5, rtol=0)
        read = model.text(input_ids=alone[:, 0], attention_mask=alone[:, 1]).last_hidden_state
        torch.testing.assert_close(model.texts(alone), model.text_head(read[:, 0]))


def pieces(vocabulary: tuple[str, ...], text: str) -> list[str]:
    return [vocabulary[number] for number in Tokenizer(vocabulary, 32)([text])[0, 0]]


def test_words_of_captions_are_whole_and_others_spelled() -> None:
    vocabulary = vocabulary_of(["Mr. Mime", "Farfetch'd", "Flabébé", "青い鳥"])
    assert len(set(vocabulary)) == len(vocabulary)
    assert pieces(vocabulary, "MR. mime") == ["[CLS]", "mr", ".", "mime", "[SEP]"]
    assert pieces(vocabulary, "flabebe") == ["[CLS]", "flabebe", "[SEP]"]
    assert pieces(vocabulary, "mew") == ["[CLS]", "m", "##e", "##w", "[SEP]"]
    assert pieces(vocabulary, "鳥") == ["[CLS]", "鳥", "[SEP]"]
    assert pieces(vocabulary, "ж") == ["[CLS]", "[UNK]", "[SEP]"]


def test_the_order_of_captions_does_not_matter() -> None:
    captions = ["a red bird", "a fish", "Nidoran♀"]
    assert vocabulary_of(captions) == vocabulary_of(reversed(captions))


def test_a_long_prompt_is_cut_with_a_warning(checkpoint: Path) -> None:
    encoder = load_encoder(str(checkpoint), None, CPU)
    with pytest.warns(SlipWarning, match="cut to its first 30 tokens"):
        encoder.encode_text(["a red bird " * 20])


def test_a_checkpoint_is_an_encoder_by_name_and_by_path(checkpoint: Path) -> None:
    by_path, by_name = (
        load_encoder(str(path), None, CPU) for path in (checkpoint, checkpoint.with_suffix(""))
    )
    assert by_path.name == by_name.name == "birds.safetensors"
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(by_path.encode_images(crops), by_name.encode_images(crops))
    with pytest.raises(UsageError, match="brings its weights"):
        check_encoder(str(checkpoint.with_suffix("")), "openai")


def test_names_stand_for_files_only_where_nothing_else_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tiny", "ViT-B-32", "mine", "mine.safetensors"):
        Path(f"{name}.safetensors").touch()
    assert choose_models("base", clip="tiny").clip == "tiny"
    assert choose_models("base", clip="ViT-B-32").clip == "ViT-B-32"
    assert choose_models("base", clip="mine").clip == "mine.safetensors"
    assert choose_models("base", clip="mine.safetensors").clip == "mine.safetensors"
    Path("plain").touch()
    Path("plain.safetensors").touch()
    assert choose_models("base", clip="plain").clip == "plain"


def test_the_encoder_computes_what_the_model_does(checkpoint: Path) -> None:
    torch.manual_seed(0)
    model = build_simple_clip(SIMPLE_CLIP)
    model.load_state_dict(
        {name: tensor.float() for name, tensor in load_file(checkpoint).items()}, strict=False
    )
    crops = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    scaled = (crops / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.inference_mode():
        trunk = model.image(torch.tensor(scaled, dtype=torch.float32).permute(0, 3, 1, 2))
        expected = model.image_head(trunk)
    expected = expected / expected.norm(dim=-1, keepdim=True)
    encoder = load_encoder(str(checkpoint), None, CPU)
    np.testing.assert_allclose(encoder.encode_images(crops), expected.numpy(), atol=1e-5)


def test_it_ranks_segments(checkpoint: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[5:20, 5:25], image[22:38, 30:55] = (200, 0, 0), (0, 0, 250)
    found = Slip(FakeProposer(), load_encoder(str(checkpoint), None, CPU)).segment(image, "a red bird")
    assert len(found.segments) == 2
    scores = [segment.score for segment in found.segments]
    assert scores == sorted(scores, reverse=True)


def changed(path: Path, folder: Path, **values: Any) -> Path:
    """The checkpoint with other values in its configuration; None takes one out."""
    config = {**SIMPLE_CLIP.to_json(), **values}
    out = folder / "changed.safetensors"
    metadata = {
        "slip": "simple_clip",
        "config": json.dumps({k: v for k, v in config.items() if v is not None}),
    }
    save_file(load_file(path), out, metadata)
    return out


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"heads": 3}, "not a configuration"),
        ({"heads": 0}, "a size is 0"),
        ({"embed_dim": "16"}, "a size is '16'"),
        ({"layers": [1, 1]}, "not a configuration"),
        ({"layers": None}, "damaged"),
        ({"vocabulary": ["[PAD]"]}, "the vocabulary lacks"),
        ({"vocabulary": "words"}, "a list of pieces"),
        ({"vocabulary": [*SIMPLE_CLIP.vocabulary, "a"]}, "a piece twice"),
        ({"vocabulary": [*SIMPLE_CLIP.vocabulary, "more"]}, "does not fit"),
        ({"embed_dim": 12}, "does not fit"),
        ({"colour": 3}, "damaged"),
    ],
    ids=str,
)
def test_damaged_configurations_are_refused(
    checkpoint: Path, tmp_path: Path, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        load_encoder(str(changed(checkpoint, tmp_path, **values)), None, CPU)


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, "sam", {}, {"weight": torch.ones(1)})
    with pytest.raises(WeightsError, match="is a sam checkpoint"):
        load_encoder(str(path), None, CPU)
    with pytest.raises(WeightsError, match="expected a simple_clip checkpoint"):
        load_simple_clip(path, CPU)


def test_without_the_extra_it_is_named(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(UsageError, match=r'pip install "slip-segment\[paper\]"'):
        load_encoder(str(checkpoint), None, CPU)


@pytest.fixture
def published_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Files in the formats that are published, of small networks, in place of those of the catalogue."""
    torch.manual_seed(3)
    source = build_simple_clip(SIMPLE_CLIP)
    image = {name: tensor for name, tensor in source.image.state_dict().items() if tensor.ndim}
    text = {f"distilbert.{name}": tensor for name, tensor in source.text.state_dict().items()}
    files = {
        "resnet50/imagenet": tmp_path / "resnet.pth",
        "distilbert/base-uncased": tmp_path / "text.safetensors",
        "distilbert/vocabulary": tmp_path / "vocab.txt",
    }
    torch.save(
        {**image, "fc.weight": torch.ones(9, 2048), "fc.bias": torch.ones(9)}, files["resnet50/imagenet"]
    )
    save_file({**text, "vocab_projector.bias": torch.ones(4)}, files["distilbert/base-uncased"])
    files["distilbert/vocabulary"].write_text("\n".join(SIMPLE_CLIP.vocabulary) + "\n", encoding="utf-8")
    monkeypatch.setattr(simple_clip, "ensure", lambda name, progress: files[name])
    return files


def test_published_files_fill_both_trunks(published_files: dict[str, Path], model: SimpleClip) -> None:
    published = fetch_published()
    assert published.vocabulary == SIMPLE_CLIP.vocabulary
    other = build_simple_clip(SIMPLE_CLIP)
    take_published(other, published)
    torch.manual_seed(3)
    source = build_simple_clip(SIMPLE_CLIP)
    for mine, theirs in ((other.image, source.image), (other.text, source.text)):
        for name, tensor in theirs.state_dict().items():
            assert torch.equal(mine.state_dict()[name], tensor), name
    assert not torch.equal(other.image.conv1.weight, model.image.conv1.weight)


def test_published_files_of_another_shape_are_refused(published_files: dict[str, Path]) -> None:
    larger = replace(SIMPLE_CLIP, shape=replace(SIMPLE_CLIP.shape, depth=2))
    with pytest.raises(WeightsError, match="does not fit DistilBERT"):
        take_published(build_simple_clip(larger), fetch_published())
