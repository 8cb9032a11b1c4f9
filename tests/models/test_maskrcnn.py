"""Mask R-CNN: torchvision's network and weights, labels of expressions, answers and checkpoints."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from slip.device import Compute
from slip.errors import SlipWarning, WeightsError
from slip.masks import segment_of
from slip.models import detections, load_segmenter, maskrcnn
from slip.models.checkpoint import save_checkpoint
from slip.models.detections import Detection, Labels, MaskRcnnSegmenter, detect, union
from slip.models.maskrcnn import MaskRcnnConfig, build_maskrcnn, coco_config, read_maskrcnn, take_imagenet

CPU = Compute("cpu", "fp32")
SMALL = MaskRcnnConfig("small", 64, 64, ("bird head", "bird wing", "bug wing"), ("head", "wing", "wing"))
SIDE, NARROW = 48, 32


def certain(network: MaskRCNN) -> MaskRCNN:
    """The network, so sure of random things that it reports them."""
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.weight *= 100
        network.roi_heads.box_predictor.cls_score.bias[0] -= 2
    return network.eval()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def small() -> MaskRCNN:
    torch.manual_seed(4)
    return certain(build_maskrcnn(SMALL))


@pytest.fixture(scope="module")
def segmenter(small: MaskRCNN) -> MaskRcnnSegmenter:
    return MaskRcnnSegmenter(small, SMALL, CPU, "small")


@pytest.fixture(scope="module")
def checkpoint(small: MaskRCNN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maskrcnn") / "parts.safetensors"
    save_checkpoint(path, "maskrcnn", SMALL.to_json(), small.state_dict())
    return path


@pytest.fixture(scope="module")
def published() -> MaskRCNN:
    """What torchvision builds for its published weights, but for pictures of ``SIDE``."""
    torch.manual_seed(0)
    trunk = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d)
    network = certain(MaskRCNN(trunk, 91, min_size=SIDE, max_size=SIDE))
    overwrite_eps(network, 0.0)
    return network


def as_published(name: str) -> str:
    """What the published file, of an older torchvision, calls a weight."""
    name = re.sub(r"(fpn\.\w+_blocks\.\d)\.0\.", r"\1.", name).replace("rpn.head.conv.0.0.", "rpn.head.conv.")
    return re.sub(r"mask_head\.(\d)\.0\.", lambda told: f"mask_head.mask_fcn{int(told[1]) + 1}.", name)


@pytest.mark.parametrize("old", [True, False], ids=["as published", "as today"])
def test_torchvisions_weights_give_torchvisions_answers(
    published: MaskRCNN, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = published.state_dict()
    assert not old or as_published("rpn.head.conv.0.0.bias") not in state
    torch.save({as_published(n) if old else n: t for n, t in state.items()}, tmp_path / "coco.pth")
    monkeypatch.setattr(maskrcnn, "LONG", SIDE)
    monkeypatch.setattr(maskrcnn, "SHORT", SIDE)
    config, network = read_maskrcnn(tmp_path / "coco.pth")
    image = picture(SIDE, NARROW)
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    with torch.inference_mode():
        [expected] = published([pixels / 255])
        found = detect(network, pixels, (SIDE, NARROW))
    masks = [(mask[0] > 0.5).numpy() for mask in expected["masks"]]
    kept = [place for place, mask in enumerate(masks) if mask.any()]
    assert len(found) == len(kept) > 5
    assert [one.label for one in found] == expected["labels"][kept].tolist()
    assert [one.segment.score for one in found] == pytest.approx(expected["scores"][kept].tolist())
    assert all(np.array_equal(one.segment.mask, masks[place]) for one, place in zip(found, kept, strict=True))
    assert config == coco_config() and config.classes[0] == "person"


def test_the_published_network_sees_what_it_was_trained_on() -> None:
    config = coco_config()
    assert len(config.classes) == 90
    assert config.size_of((480, 640)) == (800, 1067)
    assert config.size_of((400, 1000)) == (533, 1333)


@pytest.mark.parametrize("size", [(1, 1), (200, 3), (3, 5000), (64, 64), (63, 64), (999, 777)])
def test_pictures_are_scaled_only_once(size: tuple[int, int], small: MaskRCNN) -> None:
    height, width = SMALL.size_of(size)
    images, _ = small.transform([torch.zeros(3, height, width)])
    assert images.image_sizes == [(height, width)]


def test_imagenets_trunk(tmp_path: Path) -> None:
    from torchvision.models import resnet50

    torch.manual_seed(1)
    trunk = resnet50()
    torch.save(trunk.state_dict(), tmp_path / "resnet50.pth")
    network = build_maskrcnn(MaskRcnnConfig("resnet50", 64, 64, ("head",), ("head",)))
    take_imagenet(network, str(tmp_path / "resnet50.pth"))
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        seen = network.backbone.body(pixels)["3"]
        trunk.eval()
        expected = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(pixels))))
        for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
            expected = layer(expected)
    assert torch.allclose(seen, expected, atol=1e-4)
    torch.save({}, tmp_path / "nothing.pth")
    with pytest.raises(WeightsError, match="does not fit ResNet-50"):
        take_imagenet(network, str(tmp_path / "nothing.pth"))


@pytest.mark.parametrize(
    ("prompt", "labels"),
    [
        ("bird wing", {2}),
        ("the wing of the Bird", {2}),
        ("blue striped bird's wing", {2}),
        ("a wing", {2, 3}),
        ("wing of the dragon", {2, 3}),
        ("head", {1}),
        ("wings", set()),
        ("bird", set()),
        ("head band", set()),
        ("", set()),
    ],
)
def test_expressions_end_with_a_category_or_a_name(prompt: str, labels: set[int]) -> None:
    assert Labels(SMALL.classes, SMALL.names).of(prompt) == labels


def test_a_union_is_that_of_whole_masks() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((9, 7)) > 0.8 for _ in range(6)]
    labels, scores = [1, 2, 1, 3, 2, 1], [0.9, 0.8, 0.7, 0.6, 0.55, 0.5]
    found = [
        Detection(label, segment.scored(score))
        for label, mask, score in zip(labels, masks, scores, strict=True)
        if (segment := segment_of(mask))
    ]
    whole = union(found, frozenset({2, 3}))
    assert whole is not None and whole.score == 0.8
    assert np.array_equal(whole.mask, masks[1] | masks[3] | masks[4])
    assert union(found, frozenset({4})) is None and union([], frozenset({1})) is None


def test_an_answer_is_the_union_of_what_is_sure(small: MaskRCNN, segmenter: MaskRcnnSegmenter) -> None:
    image = picture(64, 48, 5)
    with torch.inference_mode():
        [found] = small([torch.from_numpy(image).permute(2, 0, 1) / 255])
    kept = (found["scores"] >= 0.5) & torch.isin(found["labels"], torch.tensor([2, 3]))
    assert kept.sum() > 1
    expected = (found["masks"][kept, 0] > 0.5).any(0).numpy()
    answer = segmenter.segment(image, "the wing")
    assert answer.prompt == "the wing" and len(answer.segments) == 1
    assert np.array_equal(answer.segments[0].mask, expected)
    assert answer.scores[0] == pytest.approx(float(found["scores"][kept].max()))


@pytest.mark.parametrize("size", [(1, 1), (200, 3), (3, 200), (130, 97)])
def test_pictures_of_any_size(segmenter: MaskRcnnSegmenter, checkpoint: Path, size: tuple[int, int]) -> None:
    best = load_segmenter("maskrcnn", str(checkpoint), CPU, detections=True)
    for answer in (segmenter.segment(picture(*size), "wing"), best.segment(picture(*size), "anything")):
        assert answer.image_size == size
        assert all(segment.image_size == size and segment.area for segment in answer.segments)


def test_one_prompt_knows_nothing_of_the_others(segmenter: MaskRcnnSegmenter) -> None:
    prompts = ["bird wing", "head", "wing", "bird wing"]
    image = picture(70, 50)
    assert segmenter.segment_each(image, []) == []
    for together, prompt in zip(segmenter.segment_each(image, prompts), prompts, strict=True):
        alone = segmenter.segment(image, prompt)
        assert together.prompt == prompt and together.scores == alone.scores
        for a, b in zip(together.segments, alone.segments, strict=True):
            assert np.array_equal(a.mask, b.mask)


def test_an_unknown_part_is_said_once_and_costs_nothing(
    segmenter: MaskRcnnSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detections, "detect", None)
    with pytest.warns(SlipWarning, match="small knows no part called 'a tail'; it knows bird head") as told:
        answer = segmenter.segment(picture(20, 30), "a tail")
    assert len(told) == 1 and not answer.segments and answer.image_size == (20, 30)


def test_the_bound_answers_anything_with_everything(checkpoint: Path, small: MaskRCNN) -> None:
    best = load_segmenter("maskrcnn", str(checkpoint.with_suffix("")), CPU, detections=True)
    image = picture(64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = best.segment_each(image, ["sky", "wing"])
    assert len(first.segments) == len(second.segments) > 1
    assert list(first.scores) == sorted(first.scores, reverse=True)
    with torch.inference_mode():
        [found] = small([torch.from_numpy(image).permute(2, 0, 1) / 255])
    assert len(first.segments) <= len(found["scores"]) <= 100


def test_a_checkpoint_comes_back(checkpoint: Path, segmenter: MaskRcnnSegmenter) -> None:
    config, network = read_maskrcnn(checkpoint)
    assert config == SMALL and not network.training
    again = load_segmenter("maskrcnn", str(checkpoint), CPU)
    image = picture(64, 64)
    [one], [other] = again.segment(image, "wing").segments, segmenter.segment(image, "wing").segments
    assert np.mean(one.mask == other.mask) > 0.95  # weights are kept in half precision


def test_half_the_precision(small: MaskRCNN) -> None:
    answer = MaskRcnnSegmenter(small, SMALL, Compute("cpu", "bf16"), "small").segment(picture(64, 64), "wing")
    assert len(answer.segments) == 1 and 0.5 <= answer.scores[0] <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "resnet101"},
        {"image_size": 1 << 20},
        {"image_size": "64"},
        {"short_side": 0},
        {"classes": []},
        {"classes": "head"},
        {"names": ["head"]},
        {"names": [1, 2, 3]},
        {"extra": 1},
        {"backbone": "resnet50"},
        {"classes": ["a", "b", "c", "d"], "names": ["a", "b", "c", "d"]},
    ],
    ids=str,
)
def test_a_hostile_configuration(checkpoint: Path, tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "hostile.safetensors"
    save_checkpoint(path, "maskrcnn", {**SMALL.to_json(), **change}, load_file(checkpoint))
    with pytest.raises(WeightsError) as refused:
        read_maskrcnn(path)
    assert len(str(refused.value).splitlines()) == 1


def test_other_files_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    state = load_file(checkpoint)
    spoilt = {**state, "rpn.head.cls_logits.bias": torch.full((3,), torch.nan)}
    save_checkpoint(tmp_path / "nan.safetensors", "maskrcnn", SMALL.to_json(), spoilt)
    save_checkpoint(tmp_path / "clip.safetensors", "clip", SMALL.to_json(), state)
    save_file(state, tmp_path / "plain.safetensors")
    torch.save(state, tmp_path / "small.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name, reason in {
        "nan.safetensors": "NaN",
        "clip.safetensors": "expected a maskrcnn checkpoint",
        "plain.safetensors": "no SLIP checkpoint",
        "small.pth": "does not fit",
        "text.pth": "can be read safely",
        "missing.pth": "cannot read",
    }.items():
        with pytest.raises(WeightsError, match=reason):
            read_maskrcnn(tmp_path / name)
