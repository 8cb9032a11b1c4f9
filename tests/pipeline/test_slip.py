from __future__ import annotations

import gc
import io
import math
import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
from fakes import COLOURS, FakeEncoder, FakeProposer

from slip import ImageError, NoMatch, Prediction, Slip, UsageError
from slip.device import Compute
from slip.masks import Enlarged, mask_iou
from slip.options import OVERLAP, PROPOSE, PROPOSER, VIEW, Preset, ProposeOptions, Scoring
from slip.pipeline.choices import choose_models
from slip.pipeline.crops import members
from slip.pipeline.score import to_score
from slip.pipeline.slip import CROPS_PER_BATCH
from slip.types import Segmenter


def scene():
    """A red, a green and a blue rectangle on black, 30 x 40."""
    image = np.zeros((30, 40, 3), np.uint8)
    image[2:8, 3:9], image[10:25, 5:15], image[5:12, 20:38] = COLOURS.values()
    return image


@pytest.fixture
def slip():
    return Slip(FakeProposer(), FakeEncoder(), view="black")


def test_the_prompt_chooses_the_segment(slip):
    for colour, value in COLOURS.items():
        best = slip.segment(scene(), f"a {colour} thing").best
        assert (best.mask == (scene() == value).all(axis=2)).all()
        assert best.score == pytest.approx(1 / (1 + math.exp(-10)))


def test_slip_is_a_segmenter():
    segmenter: Segmenter = Slip(FakeProposer(), FakeEncoder())
    prediction = segmenter.segment(scene(), "red")
    assert isinstance(prediction, Prediction)
    assert prediction.prompt == "red"
    assert prediction.image_size == (30, 40)
    scores = [segment.score for segment in prediction.segments]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)


def as_path(pixels, folder):
    path = folder / "scene.png"
    PIL.Image.fromarray(pixels).save(path)
    return path


def as_bytes(pixels, folder):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


SOURCES = {
    "array": lambda pixels, folder: pixels,
    "pil": lambda pixels, folder: PIL.Image.fromarray(pixels),
    "path": as_path,
    "str": lambda pixels, folder: str(as_path(pixels, folder)),
    "bytes": as_bytes,
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_kind_of_picture_does(slip, source, tmp_path):
    best = slip.segment(source(scene(), tmp_path), "blue").best
    assert (best.mask == (scene() == (0, 0, 255)).all(axis=2)).all()


def test_a_missing_picture_is_an_image_error(slip, tmp_path):
    with pytest.raises(ImageError):
        slip.segment(tmp_path / "none.png", "red")


def test_one_search_serves_many_prompts(slip):
    proposals = slip.propose(scene())
    assert [slip.rank(proposals, colour).best.area for colour in COLOURS] == [36, 150, 126]
    assert len(slip.proposer.seen) == 1
    assert slip.encoder.batches == [3]
    assert slip.encoder.texts == list(COLOURS)


def test_a_prompt_is_encoded_once(slip):
    first = slip.segment(scene(), "red")
    again, turned = slip.segment(scene(), "red"), slip.segment(scene()[:, ::-1], "red")
    slip.segment(scene(), "red ")
    assert slip.encoder.texts == ["red", "red "]
    assert [segment.score for segment in first.segments] == [segment.score for segment in again.segments]
    assert turned.best.box.x1 == 31


def test_the_latest_prompts_are_kept(slip, monkeypatch):
    monkeypatch.setattr("slip.pipeline.texts.TEXTS_KEPT", 2)
    slip = Slip(FakeProposer(), FakeEncoder())
    proposals = slip.propose(scene())
    for prompt in ("red", "blue", "red", "green", "red", "blue"):
        assert slip.rank(proposals, prompt).prompt == prompt
    assert slip.encoder.texts == ["red", "blue", "green", "blue"]


def test_each_prompt_is_answered_for_the_price_of_one_search(slip):
    segmenter: Segmenter = slip
    found = segmenter.segment_each(scene(), ["green", "red", "green"])
    assert [prediction.prompt for prediction in found] == ["green", "red", "green"]
    assert [prediction.best.area for prediction in found] == [150, 36, 150]
    assert len(slip.proposer.seen) == 1
    assert slip.encoder.batches == [3]
    assert slip.segment_each(scene(), []) == []
    with pytest.raises(UsageError, match="the prompt is empty"):
        slip.segment_each("missing.png", ["red", ""])


def test_crop_features_go_with_their_proposals(slip):
    proposals = slip.propose(scene())
    slip.rank(proposals, "red")
    assert len(slip._features) == 1
    del proposals
    gc.collect()
    assert len(slip._features) == 0


def test_two_searches_do_not_share_features(slip):
    first, second = slip.propose(scene()), slip.propose(scene()[:, ::-1])
    assert slip.rank(first, "red").best.box.x1 == 3
    assert slip.rank(second, "red").best.box.x1 == 31


def test_proposals_count_what_the_filter_dropped():
    image = scene()
    image[2:8, 20] = (0, 0, 254)
    proposals = Slip(FakeProposer(), FakeEncoder(), overlap="paper").propose(image)
    assert proposals.found == 4
    assert [segment.area for segment in proposals.segments] == [123, 36, 6]


def test_nothing_found_is_an_empty_prediction(slip):
    prediction = slip.segment(np.zeros((9, 7, 3), np.uint8), "red")
    assert not prediction.found
    assert prediction.image_size == (9, 7)
    assert slip.encoder.batches == slip.encoder.texts == []


@pytest.mark.parametrize("prompt", ["", "  \n\t", "\u3000"])
def test_an_empty_prompt_is_refused_before_any_work(slip, prompt):
    with pytest.raises(UsageError, match="the prompt is empty"):
        slip.segment("missing.png", prompt)
    proposals = slip.propose(scene())
    with pytest.raises(UsageError, match="the prompt is empty"):
        slip.rank(proposals, prompt)
    assert slip.encoder.batches == []


def test_a_prompt_that_is_no_text_is_refused(slip):
    with pytest.raises(UsageError, match="the prompt is list"):
        slip.segment(scene(), ["red", "blue"])


def many(count):
    """A row of ``count`` squares of distinct colours."""
    image = np.zeros((2, 3 * count, 3), np.uint8)
    for index in range(count):
        image[:, 3 * index : 3 * index + 2] = (index + 1, 99, 255 - index)
    return image


def test_crops_are_made_and_encoded_in_batches(slip):
    count = 2 * CROPS_PER_BATCH + 5
    calls = []
    prediction = slip.segment(many(count), "blue", lambda *call: calls.append(call))
    assert len(prediction.segments) == count
    assert prediction.best.box.x1 == 0
    assert slip.encoder.batches == [CROPS_PER_BATCH, CROPS_PER_BATCH, 5]
    steps = (CROPS_PER_BATCH, 2 * CROPS_PER_BATCH, count)
    assert calls == [("propose", 1, 1), *(("rank", done, count) for done in steps)]


def test_timings_name_every_stage(slip):
    proposals = slip.propose(scene())
    assert list(proposals.timings) == ["decode", "propose", "overlap"]
    first, later = slip.rank(proposals, "red"), slip.rank(proposals, "blue")
    assert list(first.timings) == ["decode", "propose", "overlap", "crop", "encode", "rank"]
    assert list(later.timings) == ["decode", "propose", "overlap", "encode", "rank"]
    assert all(seconds >= 0 for seconds in first.timings.values())
    assert list(proposals.timings) == ["decode", "propose", "overlap"]


def test_models_are_named(slip):
    assert slip.compute is slip.sam_compute is None
    assert slip.computing == {}
    assert slip.models == {"sam": "fake-sam", "clip": "fake-clip"}


def test_bad_choices_are_refused():
    with pytest.raises(UsageError, match="overlap 'soft' is not known; choose from nms, paper, none"):
        Slip(FakeProposer(), FakeEncoder(), overlap="soft")
    with pytest.raises(UsageError, match="view 'red' is not known; choose from black"):
        Slip(FakeProposer(), FakeEncoder(), view="red")


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"preset": "base"}, Preset("vit_b", "ViT-B-32", "openai")),
        ({"preset": "base", "sam": "my.pth"}, Preset("my.pth", "ViT-B-32", "openai")),
        ({"preset": "base", "clip": "ViT-B-32"}, Preset("vit_b", "ViT-B-32", "openai")),
        ({"preset": "base", "clip_weights": "my.pt"}, Preset("vit_b", "ViT-B-32", "my.pt")),
        ({"preset": "base", "clip": "RN50", "clip_weights": "yfcc"}, Preset("vit_b", "RN50", "yfcc")),
        ({"preset": "base", "clip": "tiny"}, Preset("vit_b", "tiny", None)),
        ({"preset": "base", "clip": "mine.safetensors"}, Preset("vit_b", "mine.safetensors", None)),
        ({"preset": "tiny", "sam": "vit_h"}, Preset("vit_h", "tiny", None)),
    ],
)
def test_a_preset_and_what_replaces_its_models(given, expected):
    assert choose_models(**given) == expected


def test_another_architecture_needs_weights():
    with pytest.raises(UsageError, match="CLIP 'RN50' needs weights; .*--clip-weights"):
        choose_models("base", clip="RN50")


def test_an_unknown_preset_is_named():
    with pytest.raises(UsageError, match="preset 'huge' is not known; choose from tiny, base, large"):
        Slip.load("huge")


@pytest.fixture
def registry(monkeypatch):
    """What ``Slip.load`` asked of the device and model modules, none of which load anything."""
    asked = []
    device = types.ModuleType("slip.device")
    device.resolve = lambda *wanted: asked.append(wanted) or Compute(wanted[0], "fp32")
    device.resolve_for_sam = lambda *wanted: asked.append(wanted) or Compute(wanted[1], "bf16")
    models = types.ModuleType("slip.models")
    models.check_proposer = lambda sam, options, proposer: None
    models.check_encoder = lambda clip, clip_weights: None
    models.named_clip = lambda clip: clip
    models.scoring_of = lambda clip: Scoring()
    models.check_scoring = lambda scoring: None
    models.load_proposer = lambda *wanted: asked.append(wanted) or FakeProposer()
    models.load_encoder = lambda *wanted: asked.append(wanted) or FakeEncoder()
    monkeypatch.setitem(sys.modules, "slip.device", device)
    monkeypatch.setitem(sys.modules, "slip.models", models)
    return asked


def test_load_asks_for_the_models_of_the_preset(registry):
    slip = Slip.load("base")
    assert registry == [
        ("auto", "auto"),
        ("vit_b", "auto", "auto"),
        ("vit_b", PROPOSE, Compute("auto", "bf16"), None, PROPOSER),
        ("ViT-B-32", "openai", Compute("auto", "fp32"), None),
    ]
    assert (slip.overlap, slip.view) == (OVERLAP, VIEW)
    assert (slip.compute, slip.sam_compute) == (Compute("auto", "fp32"), Compute("auto", "bf16"))
    assert slip.computing == {"device": "auto", "precision": "fp32", "sam_precision": "bf16"}
    assert slip.segment(scene(), "red").found


def test_load_passes_on_every_override(registry):
    options, progress = ProposeOptions(points_per_side=4), lambda *call: None
    slip = Slip.load(
        "tiny",
        sam="my.pth",
        clip="RN50",
        clip_weights="yfcc",
        device="cpu",
        precision="fp32",
        proposer="reference",
        options=options,
        overlap="none",
        view="blur",
        progress=progress,
    )
    assert registry == [
        ("cpu", "fp32"),
        ("my.pth", "cpu", "fp32"),
        ("my.pth", options, Compute("cpu", "bf16"), progress, "reference"),
        ("RN50", "yfcc", Compute("cpu", "fp32"), progress),
    ]
    assert (slip.overlap, slip.view) == ("none", "blur")


def test_the_reference_asks_every_point(registry):
    Slip.load("base", proposer="reference")
    assert registry[2][1] == replace(PROPOSE, points="exhaustive")


@pytest.mark.parametrize("bad", [{"overlap": "soft"}, {"view": "red"}, {"clip": "RN50"}])
def test_load_refuses_bad_values_before_loading(registry, bad):
    with pytest.raises(UsageError):
        Slip.load("tiny", **bad)
    assert registry == []


MISUSES = {
    "tag": ({"clip_weights": "typo"}, "CLIP ViT-B-32 has no weights 'typo'; choose openai"),
    "architecture": ({"clip": "ViT-B-33", "clip_weights": "openai"}, "ViT-B-33.* try .*ViT-B-32"),
    "weights of tiny": ({"clip": "tiny", "clip_weights": "openai"}, "tiny brings its weights"),
    "path too long": ({"clip_weights": "x" * 5000}, "has no weights"),
    "SAM": ({"sam": "vit_x"}, "SAM 'vit_x' is neither a model nor a file"),
    "proposer": ({"proposer": "slow"}, "proposer cannot be 'slow'; choose fast, reference"),
    "points of the reference": (
        {"proposer": "reference", "options": PROPOSE},
        "the reference proposer asks every point, not adaptive ones; choose points exhaustive",
    ),
    "options": ({"options": ProposeOptions(points_per_side=0)}, "points_per_side cannot be 0"),
    "points": (
        {"options": ProposeOptions(points="some")},
        "points cannot be 'some'; choose adaptive, exhaustive",
    ),
}


@pytest.mark.parametrize(("wish", "message"), MISUSES.values(), ids=MISUSES)
def test_misuse_is_told_before_anything_is_loaded(wish, message, monkeypatch, tmp_path):
    def load(*wanted):
        raise AssertionError(f"loaded {wanted}")

    monkeypatch.setenv("SLIP_HOME", str(tmp_path))
    monkeypatch.setattr("slip.models.load_proposer", load)
    monkeypatch.setattr("slip.models.load_encoder", load)
    with pytest.raises(UsageError, match=message):
        Slip.load("base", **wish)


AT_ONCE = [wish for name, (wish, _) in MISUSES.items() if "options" not in wish and name != "architecture"]


def test_most_misuse_needs_no_torch():
    code = f"""
import sys
from slip import Slip, UsageError
for wish in {AT_ONCE!r}:
    try:
        Slip.load("base", **wish)
    except UsageError:
        print("told")
assert not {{"torch", "open_clip"}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["told"] * len(AT_ONCE)


def test_below_the_threshold_nothing_is_found_and_the_candidate_is_named():
    slip = Slip(FakeProposer(), FakeEncoder(), scoring=Scoring(floor=9.0, min_score=0.5))
    found = slip.segment(scene(), "red")
    assert found.found
    assert [segment.score for segment in found.matches] == [found.best.score]
    absent = slip.segment(scene(), "a grey thing")
    assert not absent.found
    assert list(absent.matches) == []
    assert absent.candidate.score == absent.scores[0] < 0.5
    with pytest.raises(
        NoMatch, match=r"no match for 'a grey thing': the best candidate scores 0\.\d\d, below 0.50"
    ):
        _ = absent.best
    assert len(absent.segments) == 3


def test_the_whole_picture_has_its_share():
    """The picture is mostly black; with all of the weight on it, all segments score alike."""
    slip = Slip(FakeProposer(), FakeEncoder(), view="black", scoring=Scoring(presence=1.0))
    scores = slip.segment(scene(), "red").scores
    assert len(scores) == 3
    assert max(scores) == pytest.approx(min(scores))
    assert slip.encoder.batches == [3, 1]


def test_negatives_take_from_the_prompt():
    alone = Slip(FakeProposer(), FakeEncoder()).segment(scene(), "red").scores[0]
    scoring = Scoring(negatives=("red thing", "blue"))
    against = Slip(FakeProposer(), FakeEncoder(), scoring=scoring).segment(scene(), "red").scores[0]
    assert against == pytest.approx(0.5, abs=1e-3)
    assert alone > 0.99


def test_an_ensemble_is_the_mean_of_its_views():
    encoder = FakeEncoder()
    Slip(FakeProposer(), encoder, view="ensemble").segment(scene(), "red")
    assert encoder.batches == [3] * len(members("ensemble"))


def test_the_odds_stand_behind_the_scores(slip):
    proposals = slip.propose(scene())
    prediction = slip.rank(proposals, "red")
    odds = slip.odds(proposals, "red")
    assert to_score(odds)[list(prediction.order)].tolist() == list(prediction.scores)
    assert slip.odds(slip.propose(np.zeros((5, 5, 3), np.uint8)), "red").shape == (0,)


def test_a_large_picture_keeps_its_segments_small(slip):
    image = np.zeros((400, 4096, 3), np.uint8)
    image[100:200, 1000:2000] = COLOURS["red"]
    proposals = slip.propose(image)
    assert isinstance(proposals.segments, Enlarged)
    assert max(proposals.segments.reduced[0].image_size) == FakeProposer.image_size
    best = slip.rank(proposals, "red").best
    assert best.mask.shape == (400, 4096)
    assert mask_iou(best.mask, (image == COLOURS["red"]).all(axis=2)) > 0.95
