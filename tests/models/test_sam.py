"""Building and loading SAM; small ones first, then official checkpoints."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from models.toy_sam import ALL, TOY, check_same, picture, shaken, toy
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry

from slip.device import Compute
from slip.errors import UsageError, WeightsError
from slip.masks import decode_rle, segment_of
from slip.models import header, load_proposer
from slip.models.checkpoint import save_checkpoint
from slip.models.checks import sam_name
from slip.models.sam import build_sam, load_sam, proposer
from slip.models.sam.proposer import SamProposer

CPU = Compute("cpu", "fp32")


def same_state(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def small():
    return toy()


def test_build_sam_takes_its_own_sizes(small):
    assert small.image_encoder.img_size == 64
    assert small.prompt_encoder.image_embedding_size == (8, 8)
    assert not small.training
    assert all(parameter.device.type == "cpu" for parameter in small.parameters())


def without(config, key):
    return {k: v for k, v in config.items() if k != key}


@pytest.mark.parametrize(
    "config",
    [
        without(TOY, "depth"),
        {**TOY, "more": 1},
        {**TOY, "depth": "two"},
        {**TOY, "patch_size": 0},
        {**TOY, "decoder_depth": 0},
        {},
    ],
)
def test_build_sam_refuses_other_configurations(config):
    with pytest.raises(WeightsError, match="not a configuration of SAM") as error:
        build_sam(config)
    assert "\n" not in str(error.value)


def test_a_checkpoint_loads(small, tmp_path, monkeypatch):
    path = tmp_path / "sam_tiny.safetensors"
    save_checkpoint(path, "sam", TOY, small.half().state_dict())
    small.float()
    monkeypatch.setattr(header, "ASSETS", tmp_path)
    for source in (str(path), "tiny"):
        assert same_state(load_sam(source), small)
    proposer = load_proposer("tiny", ALL, CPU)
    assert proposer.name == "sam/tiny" and proposer.propose(picture(48, 64))


def test_a_checkpoint_that_its_configuration_does_not_fit(small, tmp_path):
    path = tmp_path / "toy.safetensors"
    save_checkpoint(path, "sam", {**TOY, "embed_dim": 32}, small.state_dict())
    with pytest.raises(
        WeightsError, match=r"does not fit the SAM of its configuration: image_encoder\.pos_embed"
    ):
        load_sam(str(path))


def test_names():
    assert [sam_name(source) for source in ("tiny", "vit_b", "/some/where/my.pth")] == [
        "sam/tiny",
        "sam/vit_b",
        "my.pth",
    ]


@pytest.mark.parametrize("source", ["vit_x", "missing.pth", "missing.safetensors", "", "."])
def test_unknown_names_are_listed(source):
    with pytest.raises(UsageError, match="choose tiny, vit_b, vit_l, vit_h"):
        load_sam(source)


# Official checkpoints: the real architecture with random weights, in the published format


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "sam_vit_b.pth"
    torch.manual_seed(2)
    torch.save(shaken(sam_model_registry["vit_b"]()).state_dict(), path)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def pair(official):
    """SAM by the product and by segment_anything.

    For speed both keep one of twelve blocks, after all weights were compared.
    """
    ours, theirs = load_sam(str(official)), sam_model_registry["vit_b"](checkpoint=official)
    assert same_state(ours, theirs)
    assert not ours.training
    for sam in (ours, theirs):
        sam.image_encoder.blocks = sam.image_encoder.blocks[:1]
    return ours, theirs


def test_official_weights_predict_as_in_the_library(pair):
    image, outputs = picture(48, 64), []
    for sam in pair:
        predictor = SamPredictor(sam)
        predictor.set_image(image)
        outputs.append(predictor.predict(np.array([[20, 30]]), np.array([1]), return_logits=True))
    for ours, theirs in zip(*outputs, strict=True):
        assert np.array_equal(ours, theirs) and np.ptp(ours) > 0


def test_official_weights_propose_as_in_the_library(pair, monkeypatch):
    ours, theirs = pair
    image = picture(48, 64)
    generator = SamAutomaticMaskGenerator(
        theirs,
        points_per_side=2,
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
        box_nms_thresh=1.0,
        output_mode="uncompressed_rle",
    )
    monkeypatch.setattr(proposer, "BOX_NMS", 1.0)  # random masks all fill the frame
    segments = (
        segment_of(decode_rle(each["segmentation"]), each["predicted_iou"], each["stability_score"])
        for each in generator.generate(image)
    )
    expected = [segment for segment in segments if segment is not None]
    assert len(expected) > 4
    found = SamProposer(ours, replace(ALL, points_per_side=2), CPU, "toy").propose(image)
    check_same(found, expected)


def test_a_catalogued_name_must_hold_its_architecture(official, monkeypatch):
    monkeypatch.setattr("slip.models.sam.load.ensure", lambda name, progress: official)
    with pytest.raises(WeightsError, match="holds vit_b; expected the weights of vit_h"):
        load_sam("vit_h")


def test_other_checkpoints_are_refused(official, tmp_path):
    state = torch.load(official, weights_only=True, mmap=True)
    clip, odd, short = tmp_path / "clip.pt", tmp_path / "odd.pth", tmp_path / "short.pth"
    torch.save({"visual.conv1.weight": torch.zeros(8, 3, 4, 4)}, clip)
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(512, 3, 16, 16)}, odd)
    torch.save({name: state[name] for name in state if "patch_embed" in name}, short)
    for path, message in (
        (clip, "holds no official SAM; expected the weights of vit_b, vit_l or vit_h"),
        (odd, "holds no official SAM"),
        (short, "does not fit vit_b: .* is missing"),
    ):
        with pytest.raises(WeightsError, match=message):
            load_sam(str(path))


def test_importing_the_models_loads_no_network():
    code = (
        "import sys, slip.models; assert not {'torch', 'open_clip', 'segment_anything'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
