import numpy as np
import pytest
import torch

from recipes.clip_segments import SegmentCrops, almost, facts_of
from recipes.clip_texts import Facts
from recipes.clip_tiny import is_true
from slip.data.critters import SPECIES, make_scene
from slip.masks import segment_of
from slip.types import Mask

SCENE = make_scene(3)


def shown(mask: Mask) -> Facts | None:
    segment = segment_of(mask)
    assert segment is not None
    return facts_of(SCENE, segment)


def test_true_masks_show_what_they_are() -> None:
    for critter in SCENE.critters:
        assert shown(SCENE.mask(critter)) == Facts.of(critter.species)
        body = max(SCENE.part_masks(critter).items(), key=lambda part: part[1].sum())
        if body[1].sum() < 0.45 * SCENE.mask(critter).sum():
            assert shown(body[1]) == Facts.of(critter.species, body[0])
    things = [thing for thing in SCENE.things if thing.species is None]
    for thing in things:
        _, colour, kind = thing.caption.split(" ")
        assert shown(SCENE.mask(thing)) == Facts(kind, colour=colour)
    assert len(SCENE.critters) == 4 and things
    assert shown(SCENE.objects == 0) == Facts("ground")


def test_pieces_are_fragments_and_what_is_in_between_is_left_out() -> None:
    critter = SCENE.critters[0]
    flat = np.flatnonzero(SCENE.mask(critter))
    rng = np.random.default_rng(0)
    told = []
    for share in (0.2, 0.4, 0.6):
        piece = np.zeros_like(SCENE.objects, bool)
        piece.flat[rng.permutation(flat)[: int(share * len(flat))]] = True
        told.append(shown(piece))
    assert told == [Facts("fragment"), None, Facts.of(critter.species)]


@pytest.mark.parametrize("kind", ["critter", "wing"])
def test_almost_is_a_critter_with_one_thing_changed(kind: str) -> None:
    rng = np.random.default_rng(0)
    changed = set()
    for species in SPECIES:
        truth = Facts.of(species, kind)
        other = almost(truth, rng)
        names = ("plan", "colour", "pattern", "accent")
        differing = [name for name in names if getattr(other, name) != getattr(truth, name)]
        assert (len(differing), other.kind) == (1, "critter")
        changed.add(differing[0])
        assert not is_true(torch.tensor([truth.codes()]), torch.tensor([other.codes()])).any()
    assert changed == {"plan", "colour", "pattern"}
    assert almost(Facts("ground"), rng).kind == "critter"


def test_items_depend_on_seed_and_index_alone() -> None:
    first, again = (SegmentCrops(5, 24)[2] for _ in range(2))
    assert [tuple(part.shape) for part in first] == [(12, 3, 24, 24), (12, 5), (24, 32), (24, 5)]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    crops, facts, _, claims = first
    truth = is_true(facts, claims)
    assert truth[torch.arange(12), torch.arange(0, 24, 2)].all()
    assert (
        truth[torch.arange(12), torch.arange(1, 24, 2)].sum() <= 6
    )  # not every wording says what was changed
    assert crops.float().std() > 0
