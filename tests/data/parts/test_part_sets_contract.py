"""What every set of parts promises; the sets below slip.data are found by themselves.

A new one fails until PART_SETS says how its smallest kind is made.
"""

from __future__ import annotations

import inspect
import pickle
import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from data.parts.sets_of_parts import KIN, save_set, save_side

import slip.data
from slip.data.parts import SIDES, CritterParts, PartPicture, PartSet, open_parts, triples


def on_disk(root: Path, *, changed: bool) -> PartSet:
    """Pictures on all sides, one of which is ``changed``."""
    save_set(root / "train", 6, seed=int(changed) * 100)
    (root / "train" / "annotations.json").rename(root / "train" / "train.json")
    for word, seed in (("val", 200), ("test", 300)):
        told = [f"{number}.png" for number in range(3)]
        pictures = {str(root / word / name): seed + number for number, name in enumerate(told)}
        save_side(root / word / f"{word}.json", pictures, told)
    return open_parts(str(root))


PART_SETS: dict[str, Callable[..., PartSet]] = {
    "CocoParts": on_disk,
    "CritterParts": lambda _, *, changed: CritterParts(count=1, size=32, seed=int(changed), species=KIN),
}


def part_sets() -> list[str]:
    """The names of the classes below slip.data that have all a PartSet has."""
    promised = [name for name in vars(PartSet) if name[0] != "_"]
    modules = [import_module(found.name) for found in pkgutil.walk_packages(slip.data.__path__, "slip.data.")]
    return sorted(
        name
        for module in modules
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and kind is not PartSet
        if set(promised) <= {*dir(kind), *getattr(kind, "__dataclass_fields__", ())}
    )


def make(name: str, root: Path, *, changed: bool = False) -> PartSet:
    if name not in PART_SETS:
        pytest.fail(f"{name} is new: add to PART_SETS of {__name__} how its smallest kind is made")
    return PART_SETS[name](root, changed=changed)


def pictures_of(data: PartSet) -> list[PartPicture]:
    return [picture for side in SIDES for picture in data.pictures(side)]


def test_part_sets_are_discovered() -> None:
    assert {"CocoParts", "CritterParts"} <= set(part_sets())


@pytest.mark.parametrize("name", part_sets())
class TestPartSets:
    def test_pictures_are_sorted_and_on_one_side_each(self, name: str, tmp_path: Path) -> None:
        data = make(name, tmp_path)
        assert data.name and data.faults == ()
        for side in SIDES:
            own = data.pictures(side)
            assert own, "the contract is empty without pictures"
            assert [one.name for one in own] == sorted(one.name for one in own)
            assert {one.side for one in own} == {side}
        names = [picture.name for picture in pictures_of(data)]
        assert len(names) == len(set(names))

    def test_parts_are_sorted_and_all_there_are(self, name: str, tmp_path: Path) -> None:
        data = make(name, tmp_path)
        assert list(data.parts) == sorted(set(data.parts))
        assert len({part.category for part in data.parts}) == len(data.parts)
        for picture in pictures_of(data):
            assert picture.parts and list(picture.parts) == sorted(set(picture.parts))
            assert set(picture.parts) <= set(data.parts)

    def test_masks_are_as_promised(self, name: str, tmp_path: Path) -> None:
        data = make(name, tmp_path)
        for picture in pictures_of(data):
            image, masks = data.load(picture)
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            assert image.flags.c_contiguous and sorted(masks) == list(picture.parts)
            for mask in masks.values():
                assert mask.dtype == bool and mask.shape == image.shape[:2] and mask.any()

    def test_they_are_the_same_each_time_whatever_is_done_to_them(self, name: str, tmp_path: Path) -> None:
        data = make(name, tmp_path)
        for picture in reversed(pictures_of(data)):
            image, masks = data.load(picture)
            expected = image.copy(), {part: mask.copy() for part, mask in masks.items()}
            image[:] = 1
            for mask in masks.values():
                mask[:] = ~mask
            again, again_masks = data.load(picture)
            assert np.array_equal(again, expected[0])
            assert all(np.array_equal(again_masks[part], mask) for part, mask in expected[1].items())

    def test_the_digest_is_of_the_content(self, name: str, tmp_path: Path) -> None:
        one, again = make(name, tmp_path / "a"), make(name, tmp_path / "b")
        assert pictures_of(one) == pictures_of(again)
        other = make(name, tmp_path / "a", changed=True)
        assert one.digest == again.digest != other.digest
        assert len(one.digest) == 64 and int(one.digest, 16)

    def test_other_processes_get_the_same(self, name: str, tmp_path: Path) -> None:
        data = make(name, tmp_path)
        there = pickle.loads(pickle.dumps(data))
        assert pictures_of(there) == pictures_of(data) and there.digest == data.digest
        picture = data.pictures("test")[0]
        assert np.array_equal(there.load(picture)[0], data.load(picture)[0])

    def test_every_triple_has_its_mask(self, name: str, tmp_path: Path) -> None:
        data = make(name, tmp_path)
        asked = triples(pictures_of(data))
        assert len(asked) == sum(len(picture.parts) for picture in pictures_of(data))
        assert all(triple.expression and triple.part in data.load(triple.picture)[1] for triple in asked[:5])
