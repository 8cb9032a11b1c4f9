from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry

from slip.device import Compute
from slip.errors import UsageError, WeightsError
from slip.masks import decode_rle
from slip.models import check_proposer, checkpoint, load_proposer
from slip.models.checkpoint import save_checkpoint
from slip.models.sam import SamProposer, build_sam, load_sam, name_of
from slip.options import ProposeOptions

CPU = Compute("cpu", "fp32")
TINY = {
    "image_size": 64,
    "patch_size": 8,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "window_size": 4,
    "global_attn_indexes": [1],
    "use_rel_pos": True,
    "out_chans": 32,
    "mask_in_chans": 8,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "decoder_mlp_dim": 32,
    "iou_head_depth": 2,
    "iou_head_hidden_dim": 16,
}
ALL = ProposeOptions(points_per_side=4, pred_iou_thresh=0.0, stability_thresh=0.0, points_per_batch=6)


def randomised(build, *args):
    """A new SAM with random tensors, also where they start as zeros or ones; its masks differ by point."""
    torch.manual_seed(2)
    sam, noise = build(*args), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in sam.state_dict().items():
            tensor += 0.1 * torch.randn(tensor.shape, generator=noise)
            if "output_hypernetworks" in name and ".layers.2." in name:
                tensor *= 0.0 if name.endswith("bias") else 100.0
    return sam


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def same_state(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def check_same_segments(segments, records):
    """Segments are the generator's records, in its order."""
    records = [record for record in records if decode_rle(record["segmentation"]).any()]
    assert len(segments) == len(records) > 1
    for segment, record in zip(segments, records, strict=True):
        assert np.array_equal(segment.mask, decode_rle(record["segmentation"]))
        assert segment.predicted_iou == record["predicted_iou"]
        assert segment.stability == record["stability_score"]


# Small SAMs


@pytest.fixture(scope="module")
def tiny():
    return randomised(build_sam, TINY)


def test_build_sam_takes_its_own_sizes(tiny):
    assert tiny.image_encoder.img_size == 64
    assert tiny.prompt_encoder.image_embedding_size == (8, 8)
    assert not tiny.training
    assert all(parameter.device.type == "cpu" for parameter in tiny.parameters())


def without(config, key):
    return {k: v for k, v in config.items() if k != key}


@pytest.mark.parametrize(
    "config",
    [without(TINY, "depth"), {**TINY, "more": 1}, {**TINY, "depth": "two"}, {**TINY, "patch_size": 0}, {}],
)
def test_build_sam_refuses_other_configurations(config):
    with pytest.raises(WeightsError, match="not a configuration of SAM") as error:
        build_sam(config)
    assert "\n" not in str(error.value)


def test_a_checkpoint_loads(tiny, tmp_path, monkeypatch):
    path = tmp_path / "sam_tiny.safetensors"
    save_checkpoint(path, "sam", TINY, tiny.half().state_dict())
    tiny.float()
    monkeypatch.setattr(checkpoint, "ASSETS", tmp_path)
    for source in (str(path), "tiny"):
        assert same_state(load_sam(source), tiny)
    proposer = load_proposer("tiny", ALL, CPU)
    assert proposer.name == "sam/tiny" and proposer.propose(picture(48, 64))


def test_a_checkpoint_that_its_configuration_does_not_fit(tiny, tmp_path):
    path = tmp_path / "toy.safetensors"
    save_checkpoint(path, "sam", {**TINY, "embed_dim": 32}, tiny.state_dict())
    with pytest.raises(
        WeightsError, match=r"does not fit the SAM of its configuration: image_encoder\.pos_embed"
    ):
        load_sam(str(path))


def test_names():
    assert [name_of(source) for source in ("tiny", "vit_b", "/some/where/my.pth")] == [
        "sam/tiny",
        "sam/vit_b",
        "my.pth",
    ]


@pytest.mark.parametrize("source", ["vit_x", "missing.pth", "missing.safetensors", "", "."])
def test_unknown_names_are_listed(source):
    with pytest.raises(UsageError, match="choose tiny, vit_b, vit_l, vit_h"):
        load_sam(source)


# Proposing


@pytest.mark.parametrize("size", [(48, 64), (64, 64), (128, 32)])
def test_segments_are_those_of_the_library(tiny, size):
    image = picture(*size)
    reference = SamAutomaticMaskGenerator(
        tiny,
        points_per_side=4,
        points_per_batch=6,
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
        output_mode="uncompressed_rle",
    )
    check_same_segments(SamProposer(tiny, ALL, CPU, "toy").propose(image), reference.generate(image))


def test_thresholds_drop_segments(tiny):
    image = picture(48, 64)
    everything = SamProposer(tiny, ALL, CPU, "toy").propose(image)
    most = max(segment.stability for segment in everything)
    fewer = SamProposer(tiny, replace(ALL, stability_thresh=most), CPU, "toy").propose(image)
    assert 0 < len(fewer) < len(everything)
    assert all(segment.stability >= most for segment in fewer)


def test_proposing_is_repeatable_and_tells_its_progress(tiny):
    proposer, seen = SamProposer(tiny, ALL, CPU, "toy"), []
    first = proposer.propose(picture(48, 64), lambda *step: seen.append(step))
    again = proposer.propose(picture(48, 64))
    assert seen == [("propose", done, 16) for done in (0, 6, 12, 16)]
    assert [segment.box for segment in first] == [segment.box for segment in again]


def test_bfloat16_gives_finite_floats(tiny):
    segments = SamProposer(tiny, ALL, Compute("cpu", "bf16"), "toy").propose(picture(48, 64))
    assert segments
    for segment in segments:
        for value in (segment.predicted_iou, segment.stability):
            assert type(value) is float and math.isfinite(value)


@pytest.mark.filterwarnings("error", "ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (1, 2000), (2000, 1), (2, 3)])
def test_pictures_of_one_row_or_pixel(tiny, size):
    for segment in SamProposer(tiny, ALL, CPU, "toy").propose(picture(*size)):
        assert segment.image_size == size and segment.area > 0


@pytest.mark.filterwarnings("error", "ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("logit", [-20.0, -0.5, float("nan")])
def test_empty_masks_are_dropped(logit):
    sam = randomised(build_sam, TINY)
    sam.postprocess_masks = lambda masks, *sizes: torch.full((*masks.shape[:2], 8, 8), logit)
    assert SamProposer(sam, ALL, CPU, "toy").propose(picture(8, 8)) == []


def test_points_are_float32_for_devices_without_float64(tiny):
    proposer, seen = SamProposer(tiny, ALL, CPU, "toy"), []
    predictor = proposer._generator.predictor
    predict = predictor.predict_torch
    predictor.predict_torch = lambda points, *rest, **more: (
        seen.append(points) or predict(points, *rest, **more)
    )
    proposer.propose(picture(48, 64))
    assert seen and all(points.dtype == torch.float32 for points in seen)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("points_per_side", (0, -1, 257)),
        ("points_per_batch", (0, -1)),
        ("pred_iou_thresh", (-0.1, 1.1, float("nan"))),
        ("stability_thresh", (-0.1, 1.1, float("inf"))),
    ],
)
def test_options_out_of_range_are_refused(tiny, option, values):
    for value in values:
        options = replace(ProposeOptions(), **{option: value})
        with pytest.raises(UsageError, match=f"{option} cannot be {value}"):
            check_proposer("vit_b", options)
        with pytest.raises(UsageError, match=f"{option} cannot be {value}"):
            SamProposer(tiny, options, CPU, "toy")


# Official checkpoints: the real architecture with random weights, in the published format


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "sam_vit_b.pth"
    torch.save(randomised(sam_model_registry["vit_b"]).state_dict(), path)
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


def test_official_weights_propose_as_in_the_library(pair):
    ours, theirs = pair
    image = picture(48, 64)
    reference = SamAutomaticMaskGenerator(
        theirs,
        points_per_side=2,
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
        box_nms_thresh=1.0,
        output_mode="uncompressed_rle",
    )
    proposer = SamProposer(ours, replace(ALL, points_per_side=2), CPU, "toy")
    proposer._generator.box_nms_thresh = 1.0  # random masks all fill the frame
    check_same_segments(proposer.propose(image), reference.generate(image))


def test_a_catalogued_name_must_hold_its_architecture(official, monkeypatch):
    monkeypatch.setattr("slip.models.sam.ensure", lambda name, progress: official)
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
