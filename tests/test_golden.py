"""The whole pipeline on the built-in weights against kept masks, and against the truth."""

from __future__ import annotations

import sys

import pytest
from golden_masks import CASES, EXAMPLES, PROMPTS, golden_path

from slip import Proposals, Slip
from slip.data.critters import Scene
from slip.images import load_image
from slip.masks import mask_iou

sys.path.append(str(EXAMPLES))
from make_pictures import draw  # noqa: E402


@pytest.fixture(scope="module")
def slip() -> Slip:
    return Slip.load("tiny")


@pytest.fixture(scope="module")
def found(slip: Slip) -> dict[str, Proposals]:
    return {picture: slip.propose(EXAMPLES / f"{picture}.png") for picture in PROMPTS}


@pytest.mark.parametrize(("picture", "prompt"), CASES)
def test_chosen_mask_is_the_kept_one(
    slip: Slip, found: dict[str, Proposals], picture: str, prompt: str
) -> None:
    kept = load_image(golden_path(picture, prompt))[..., 0] > 127
    assert mask_iou(slip.rank(found[picture], prompt).best.mask, kept) >= 0.9


@pytest.mark.parametrize(("picture", "prompt"), CASES)
def test_kept_mask_is_the_right_critter(picture: str, prompt: str) -> None:
    scene: Scene = draw(picture)
    critter = next(critter for critter in scene.critters if critter.caption == prompt)
    kept = load_image(golden_path(picture, prompt))[..., 0] > 127
    assert mask_iou(kept, scene.mask(critter)) >= 0.5


@pytest.mark.parametrize("picture", PROMPTS)
def test_the_search_does_not_depend_on_the_prompt(
    slip: Slip, found: dict[str, Proposals], picture: str
) -> None:
    _, second = PROMPTS[picture]
    again = slip.segment(EXAMPLES / f"{picture}.png", second)
    shared = slip.rank(found[picture], second)
    assert [segment.box for segment in again.segments] == [segment.box for segment in shared.segments]
    assert again.best.score == pytest.approx(shared.best.score, abs=1e-5)
