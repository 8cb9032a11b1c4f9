from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from fakes import HUES, ColourSet
from hypothesis import given
from hypothesis import strategies as st

from slip.data.composites import TILES, draw_composite, plan_composites
from slip.data.pictures import Picture
from slip.errors import UsageError
from slip.images import resize
from slip.options import EvalOptions
from slip.types import Box

SMALL = EvalOptions(count=5, tile=16)


def pictures(**counts: int) -> list[Picture]:
    """So many pictures of each class."""
    names = [(f"{label}/{index}", label) for label, count in counts.items() for index in range(count)]
    return [Picture(name, label, label, group) for group, (name, label) in enumerate(names)]


def names(plans):
    return [[picture.name for picture in plan] for plan in plans]


def test_the_seed_decides_and_the_order_given_does_not():
    some = pictures(a=9, b=9, c=9, d=9, e=9)
    plans = names(plan_composites(some, SMALL))
    assert names(plan_composites(some[::-1], SMALL)) == plans
    assert names(plan_composites(some, replace(SMALL, seed=1))) != plans
    assert names(plan_composites(some, replace(SMALL, count=3))) == plans[:3]


@given(
    st.lists(st.integers(1, 12), min_size=4, max_size=9),
    st.integers(1, 30),
    st.integers(0, 5),
    st.sampled_from(["corrected", "paper"]),
)
def test_four_pictures_of_four_classes(counts, count, seed, protocol):
    some = pictures(**{f"c{index}": number for index, number in enumerate(counts)})
    plans = plan_composites(some, EvalOptions(count=count, seed=seed, protocol=protocol))
    assert len(plans) == count
    for plan in plans:
        assert len({picture.name for picture in plan}) == TILES
        assert protocol == "paper" or len({picture.label for picture in plan}) == TILES


@given(st.lists(st.integers(1, 12), min_size=4, max_size=9), st.integers(0, 5))
def test_no_picture_comes_twice_where_the_classes_allow_it(counts, seed):
    """They do where no class has more pictures than there are composites."""
    some = pictures(**{f"c{index}": number for index, number in enumerate(counts)})
    count = len(some) // TILES
    shown = Counter(
        name for plan in names(plan_composites(some, EvalOptions(count, seed=seed))) for name in plan
    )
    if max(counts) <= count:
        assert max(shown.values()) == 1
    again = Counter(
        name
        for plan in names(plan_composites(some, EvalOptions(3 * len(some), seed=seed, protocol="paper")))
        for name in plan
    )
    assert max(again.values()) - min(again.values()) <= 1


def test_places_are_dealt_by_chance():
    """A class that has to be in every composite is not always in the same corner."""
    plans = plan_composites(pictures(a=40, **{f"b{index}": 10 for index in range(12)}), EvalOptions(count=40))
    assert len({[picture.label for picture in plan].index("a") for plan in plans}) == TILES


def test_classes_may_repeat_under_the_paper_protocol():
    some = pictures(a=5, b=5, c=5, d=5)
    plans = plan_composites(some, EvalOptions(count=20, protocol="paper"))
    assert any(len({picture.label for picture in plan}) < TILES for plan in plans)


@pytest.mark.parametrize(
    ("some", "change", "says"),
    [
        (pictures(a=5, b=5, c=5), {}, "4 classes, and there are pictures of 3 \\(a, b, c\\)"),
        ([], {}, "no picture to measure with.*--split all"),
        (pictures(a=2, b=1), {"protocol": "paper"}, "4 pictures, and there are 3"),
        (pictures(a=1, b=1, c=1, d=1), {"count": 0}, "count is 0"),
        (pictures(a=1, b=1, c=1, d=1), {"tile": 0}, "tiles of 0 pixels"),
        (pictures(a=1, b=1, c=1, d=1), {"seed": -1}, "seed -1 is below 0"),
    ],
)
def test_what_makes_no_composite(some, change, says):
    with pytest.raises(UsageError, match=says):
        plan_composites(some, replace(SMALL, **change))


def test_a_composite_knows_what_is_where():
    source = ColourSet()
    plan = plan_composites(source.pictures, SMALL)[0]
    composite = draw_composite(plan, source, SMALL)
    assert composite.image.shape == (32, 32, 3)
    boxes = [Box(0, 0, 16, 16), Box(16, 0, 32, 16), Box(0, 16, 16, 32), Box(16, 16, 32, 32)]
    assert [tile.box for tile in composite.tiles] == boxes
    for tile, picture in zip(composite.tiles, plan, strict=True):
        image, mask = source.load(picture)
        assert (composite.image[tile.box.slices] == image).all()
        assert (tile.label, tile.prompt, tile.picture) == (picture.label, picture.label, picture.name)
        assert (tile.truth.mask[tile.box.slices] == mask).all()
        assert tile.truth.area == mask.sum()
        assert (composite.image[tile.truth.mask] == HUES[picture.label]).all()


def test_pictures_are_squashed_and_masks_stay_sharp():
    class Wide(ColourSet):
        def load(self, picture):
            rng = np.random.default_rng(self.pictures.index(picture))
            image = rng.integers(0, 256, (20, 60, 3), np.uint8)
            return image, image[..., 0] > 128

    source, options = Wide(), EvalOptions(count=1, tile=40)
    plan = plan_composites(source.pictures, options)[0]
    composite = draw_composite(plan, source, options)
    for tile, picture in zip(composite.tiles, plan, strict=True):
        image, mask = source.load(picture)
        assert (composite.image[tile.box.slices] == resize(image, 40, 40)).all()
        columns = (np.arange(40) * 3 + 1) // 2  # the pixel whose centre is nearest, of 60 for 40
        assert (tile.truth.mask[tile.box.slices] == mask[np.arange(40) // 2][:, columns]).all()


def test_a_set_without_masks_has_no_truth():
    source = ColourSet(masks=False)
    composite = draw_composite(plan_composites(source.pictures, SMALL)[0], source, SMALL)
    assert [tile.truth for tile in composite.tiles] == [None] * TILES


def test_a_mask_of_nothing_is_no_truth():
    class Empty(ColourSet):
        def load(self, picture):
            image, mask = super().load(picture)
            return image, np.zeros_like(mask)

    composite = draw_composite(plan_composites(Empty().pictures, SMALL)[0], Empty(), SMALL)
    assert [tile.truth for tile in composite.tiles] == [None] * TILES


def test_prompts_may_be_captions():
    options = replace(SMALL, asked="caption")
    source = ColourSet()
    composite = draw_composite(plan_composites(source.pictures, options)[0], source, options)
    assert [tile.prompt for tile in composite.tiles] == [f"a {tile.label} thing" for tile in composite.tiles]
