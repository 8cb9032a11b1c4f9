"""The evaluation asks the built-in models as the product does, on two scenes."""

import pytest

from recipes import evaluate, thresholds
from recipes.evaluate import Measured
from slip import Slip
from slip.data.critters import make_scene


def test_automatic_masks_and_choices_are_the_products() -> None:
    recall, chosen = evaluate.pipeline(2)
    slip = Slip.load("tiny", device="cpu")
    searched = [make_scene(evaluate.FIRST_SEED + number) for number in range(2)]
    counts = [float(slip.propose(scene.image).found) for scene in searched]
    assert recall[3].values == counts
    assert all(count > 0 for count in counts)
    assert [len(measured.values) for measured in chosen.values()] == [8] * len(chosen)
    mine = [
        evaluate.best_iou(slip.segment(scene.image, critter.caption).segments[:1], scene.mask(critter))
        for scene in searched
        for critter in scene.critters
    ]
    assert chosen[slip.overlap, slip.view].values == pytest.approx(mine)


def test_one_point_gives_a_value_an_object_and_a_part() -> None:
    objects, parts = evaluate.one_point(1)
    scene = make_scene(evaluate.FIRST_SEED)
    assert len(objects.values) == len(scene.things)
    assert len(parts.values) == sum(len(scene.part_masks(thing)) for thing in scene.things)
    assert all(0 <= value <= 1 for value in objects.values + parts.values)


def test_thresholds_that_keep_nothing_recall_nothing() -> None:
    slip = Slip.load("tiny", device="cpu")
    scene = make_scene(thresholds.FIRST_SEED)
    searched = [(scene, slip.proposer.propose(scene.image))]
    assert thresholds.row(searched, slip.encoder, 1.5, 0.0)[2:] == ["0.0%", "0.0%", "0.0%", "0.0"]
    assert float(thresholds.row(searched, slip.encoder, 0.0, 0.0)[-1]) > 0


def test_shares_come_with_wilsons_interval() -> None:
    measured = Measured("x", [1.0] * 61 + [0.0] * 339)
    assert measured.share_above(0.5) == "15.2% (12.1% to 19.1%)"
    assert measured.mean().startswith("0.152 (")
