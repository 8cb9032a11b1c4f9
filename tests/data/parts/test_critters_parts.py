from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from data.parts.sets_of_parts import KIN

from slip.data.critters import SPECIES
from slip.data.parts import SIDES, CritterParts, triples
from slip.data.parts.critters import TEST, VALIDATION
from slip.errors import UsageError

SMALL = CritterParts(count=2, size=32, species=KIN)


def species_of(data: CritterParts, side: str) -> set[str]:
    return {picture.name.partition("/")[0] for picture in data.pictures(side)}  # type: ignore[arg-type]


def test_species_are_held_out_of_every_body_plan() -> None:
    whole = CritterParts()
    kept = {side: [kin for _, kin in whole._of(side)] for side in SIDES}
    plans = {kin.plan for kin in SPECIES}
    assert (
        sum(map(len, kept.values()))
        == len(SPECIES)
        == len({kin.name for own in kept.values() for kin in own})
    )
    for side, number in (("test", TEST), ("validation", VALIDATION)):
        assert [sum(kin.plan == plan for kin in kept[side]) for plan in plans] == [number] * len(plans)  # type: ignore[index]
    assert {kin.plan for kin in kept["train"]} == plans


def test_no_species_is_on_two_sides() -> None:
    own = [species_of(SMALL, side) for side in SIDES]
    assert all(own) and sum(map(len, own)) == len(set.union(*own))


def test_every_species_has_its_portraits_in_both_styles() -> None:
    for side in SIDES:
        assert len(SMALL.pictures(side)) == 2 * len(species_of(SMALL, side))
    picture, artwork = SMALL.pictures("test")[:2]
    assert picture.name.endswith("_0000.png") and artwork.name.endswith("_0001.png")
    white = [np.median(SMALL.load(one)[0][0]) == 255 for one in (picture, artwork)]
    assert white == [False, True]


def test_parts_and_subjects_are_said_in_words() -> None:
    picture = SMALL.pictures("test")[0]
    plan = picture.parts[0].owner
    assert plan in picture.subject.split()
    assert all(part.owner == plan and part.category == f"{plan} {part.name}" for part in picture.parts)
    assert set(picture.parts) <= set(SMALL.parts)
    assert triples([picture])[0].expression == picture.parts[0].category


def test_masks_do_not_overlap_and_are_the_critter() -> None:
    image, masks = SMALL.load(SMALL.pictures("train")[0])
    assert image.shape == (32, 32, 3)
    assert np.sum(list(masks.values()), axis=0).max() == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(SMALL, count=3),
        replace(SMALL, size=40),
        replace(SMALL, seed=1),
        replace(SMALL, species=SPECIES[::7]),
    ],
)
def test_the_digest_is_of_all_that_decides(other: CritterParts) -> None:
    assert other.digest != SMALL.digest == replace(SMALL).digest


def test_nothing_is_drawn_for_the_digest_and_the_parts() -> None:
    fresh = CritterParts()
    assert len(fresh.digest) == 64 and len(fresh.parts) > 40
    assert fresh._drawn == {}


@pytest.mark.parametrize("values", [{"count": 0}, {"size": 0}, {"seed": -1}])
def test_values_that_cannot_be_drawn(values: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        CritterParts(**values)  # type: ignore[arg-type]
