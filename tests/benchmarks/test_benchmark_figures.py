from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.agreement import Agreement, Sample, against_library, nearest, same_choice, sample
from benchmarks.proposals import PASSING, heats_of, parse, passing
from benchmarks.scaling import exponent
from benchmarks.timing import markdown
from benchmarks.tricks import EXHAUSTIVE, REFERENCE, TRICKS, Side, load
from slip.data.critters import make_scene
from slip.device import Compute
from slip.evaluation.scores import Share
from slip.masks import mask_iou, segment_of
from slip.models.sam import proposer
from slip.models.sam.fullsize import Found
from slip.options import ProposeOptions
from slip.types import Box, Segment


def random_segments(count: int, seed: int) -> list[Segment]:
    rng = np.random.default_rng(seed)
    masks = (rng.random((12, 15)) < rng.uniform(0.05, 0.95) for _ in range(count))
    return [segment for mask in masks if (segment := segment_of(mask))]


def test_nearest_is_the_best_of_all() -> None:
    wanted, found = random_segments(12, 0), random_segments(20, 1)
    found.append(wanted[3])
    best = [max(mask_iou(a.mask, b.mask) for b in found) for a in wanted]
    assert nearest(wanted, found) == pytest.approx(best)
    assert nearest(wanted, found)[3] == 1 > best[2]
    assert nearest(wanted, []) == [0.0] * len(wanted)
    assert nearest([], found) == []


def test_choices_agree_where_there_is_nothing_to_choose() -> None:
    a, b = random_segments(2, 2)
    assert same_choice(None, None) == same_choice(a, a) == 1
    assert same_choice(a, None) == same_choice(None, a) == 0
    assert same_choice(a, b) == mask_iou(a.mask, b.mask) < 1


def test_shares_of_an_agreement() -> None:
    agreed = Agreement([1.0, 0.95, 0.9, 0.899], [])
    assert (agreed.contained, agreed.identical) == (Share(3, 4), Share(1, 4))
    assert (agreed.choices, agreed.identical_choices) == (None, None)


def test_a_tenth_passes_the_thresholds() -> None:
    rng = np.random.default_rng(0)
    ious, stabilities = rng.normal(0.5, 0.02, 3000), rng.random(3000)
    found = [Found(Box(0, 0, 1, 1), np.zeros(1, np.uint8), 1, float(each)) for each in stabilities]
    sampled = Sample((1, 1), torch.zeros(1000, 2), torch.from_numpy(ious).view(1000, 3), list(found))
    chosen = passing(ProposeOptions(), sampled)
    passed = (ious > chosen.pred_iou_thresh) & (stabilities >= chosen.stability_thresh)
    assert passed.mean() == pytest.approx(PASSING, abs=0.002)


def test_a_sample_agrees_with_the_library_and_a_disturbed_one_does_not() -> None:
    sam, image = load("tiny"), make_scene(5, size=96).image
    ours = sample(sam, image, 2)
    assert against_library(sam, image, ours).startswith(
        "12 masks of 4 points before any filter, fp32: 12 ide"
    )
    there = next(place for place, found in enumerate(ours.found) if found)
    disturbed = replace(
        ours, found=[None if place == there else found for place, found in enumerate(ours.found)]
    )
    assert "11 identical" in against_library(sam, image, disturbed)


OTHERWISE = {
    "ours, adaptive",
    "exhaustive and decoder compiled",
    "exhaustive and stability of small masks first",
}
"""What may find other masks at fp32, or takes long to compile."""


@pytest.mark.parametrize(
    "side",
    [side for side in TRICKS if side.precision == "fp32" and side.name not in OTHERWISE],
    ids=lambda side: side.name,
)
def test_tricks_find_the_same_masks(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FullSize", "encode_image"):  # a side may put its own in their place
        monkeypatch.setattr(proposer, name, getattr(proposer, name))
    sam, image, compute = load("tiny"), make_scene(950_000).image[:200], Compute("cpu", "fp32")
    options = ProposeOptions(5, 0.5, 0.3, "exhaustive", side.batch)
    reference = REFERENCE.make(sam, options, compute)
    method = side.make(sam, options, compute)
    expected, found = reference.segments(reference(image)), method.segments(method(image))
    assert len(found) == len(expected) >= 4
    assert min(nearest(expected, found)) > 0.99


def test_random_weights_answer_masks_that_thresholds_can_tell_apart() -> None:
    first, second = load("vit_b").state_dict(), load("vit_b").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["mask_decoder.iou_prediction_head.layers.2.bias"].mean() > 0.4


def test_exponents() -> None:
    assert exponent([(x, 3 * x**1.5) for x in (10, 20, 80)]) == pytest.approx(1.5)
    assert exponent([(1, 0.0), (2, 4.0), (4, 8.0)]) == pytest.approx(1)


def test_tables() -> None:
    assert markdown(("", "a"), [("x", "1")]) == "\n|  | a |\n| --- | ---: |\n| x | 1 |"


@pytest.mark.parametrize("arguments", [["--tricks"], [], ["--sam", "vit_b"]], ids=" ".join)
def test_every_side_is_compared_with_one_of_its_heat(arguments: list[str]) -> None:
    heats = heats_of(parse(arguments))
    for heat in heats:
        assert heat[0] == REFERENCE
        assert {side.against for side in heat} <= {side.name for side in heat}
    names = [side.name for heat in heats for side in heat[1:]]
    assert len(set(names)) == len(names)
    if "--tricks" in arguments:
        assert set(names) == {side.name for side in TRICKS} >= {EXHAUSTIVE.name}
