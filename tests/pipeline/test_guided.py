"""Points guided by the text: only where a prompt is likely to be found."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeEncoder, FakeProposer

from slip.data.critters.scenes import make_scene
from slip.device import Compute
from slip.errors import UsageError
from slip.masks import mask_iou, segment_iou
from slip.models import load_encoder, load_proposer
from slip.models.sam.decoder import PointDecoder
from slip.options import propose_options
from slip.pipeline.slip import Slip

CPU = Compute("cpu", "fp32")


def load(points: str) -> Slip:
    options = propose_options("tiny").but(points=points)
    return Slip(load_proposer("tiny", options, CPU), load_encoder("tiny", None, CPU))


@pytest.fixture(scope="module")
def guided() -> Slip:
    return load("guided")


@pytest.fixture
def asked(monkeypatch):
    """The number of points of every batch that SAM is asked."""
    counts, answer = [], PointDecoder.answer
    monkeypatch.setattr(
        PointDecoder,
        "answer",
        lambda self, view, points: counts.append(len(points)) or answer(self, view, points),
    )
    return counts


def test_a_prompt_asks_a_third_of_the_points_at_most(guided, asked):
    guided.segment(make_scene(990_000).image, "a red bird")
    assert 64 <= sum(asked) <= 80


def test_without_a_prompt_it_looks_everywhere(guided):
    image = make_scene(990_000).image
    everywhere, adaptive = guided.propose(image), load("adaptive").propose(image)
    assert [s.box for s in everywhere.segments] == [s.box for s in adaptive.segments]
    assert "guide" not in everywhere.timings


def test_each_prompt_has_a_search_of_its_own(guided):
    scene = make_scene(990_001)
    prompts = [critter.caption for critter in scene.critters]
    each = guided.segment_each(scene.image, prompts)
    for prediction, prompt in zip(each, prompts, strict=True):
        alone = guided.segment(scene.image, prompt)
        assert prediction.prompt == prompt and prediction.timings["guide"] > 0
        assert [s.box for s in prediction.segments] == [s.box for s in alone.segments]


def test_it_chooses_what_the_whole_grid_chooses(guided):
    """In at least 90 % of 32 prompts, and no worse a critter."""
    whole, same, better = load("exhaustive"), [], []
    for seed in range(990_000, 990_008):
        scene = make_scene(seed)
        for critter in scene.critters:
            few = guided.segment(scene.image, critter.caption).best
            all_points = whole.segment(scene.image, critter.caption).best
            same.append(segment_iou(few, all_points) >= 0.9)
            truth = scene.mask(critter)
            better.append(mask_iou(few.mask, truth) - mask_iou(all_points.mask, truth))
    assert len(same) == 32 and np.mean(same) >= 0.9
    assert np.mean(better) > -0.03


def test_progress_reaches_its_total(guided):
    calls = []
    guided.segment(make_scene(990_000).image, "a red bird", lambda *call: calls.append(call))
    counts = [done for stage, done, _ in calls if stage == "propose"]
    assert counts == sorted(counts) and counts[-1] == 256


def test_an_encoder_without_dense_features_is_refused():
    proposer = load_proposer("tiny", propose_options("tiny").but(points="guided"), CPU)
    with pytest.raises(UsageError, match="fake-clip cannot guide the points; choose --points adaptive"):
        Slip(proposer, FakeEncoder())


def test_other_proposers_take_no_notice_of_a_prompt():
    slip, image = Slip(FakeProposer(), FakeEncoder()), make_scene(990_000).image // 128 * 255
    with_prompt, without = slip.propose(image, prompt="a bird"), slip.propose(image)
    assert [s.box for s in with_prompt.segments] == [s.box for s in without.segments]
