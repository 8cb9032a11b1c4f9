from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from slip.data.critters import SPECIES
from slip.data.parts import CritterParts, Fault, Part, PartCrops, PartPicture, Side, crops
from slip.data.sets import open_set
from slip.data.splits import split
from slip.errors import UsageError
from slip.types import Image, Mask

WING, BEAK = Part("bird wing", "wing", "bird"), Part("bird beak", "beak", "bird")


class Birds:
    """Pictures of 40 x 20 pixels, each number its own grey; a wing in the middle and a beak in a corner.

    A PartSet that counts how often it is asked for pixels.
    """

    name = "birds"
    faults: tuple[Fault, ...] = (Fault("unreadable", "b.png"), Fault("no parts", "a.png"))
    digest = "d" * 64

    def __init__(self, parts: tuple[Part, ...] = (BEAK, WING)) -> None:
        self.parts = parts
        self.loaded: list[str] = []

    def pictures(self, side: Side) -> tuple[PartPicture, ...]:
        held = {"train": (1, 2), "validation": (3,), "test": (4,)}[side]
        return tuple(PartPicture(f"{number}.png", side, "blue bird", self.parts) for number in held)

    def load(self, picture: PartPicture) -> tuple[Image, Mapping[Part, Mask]]:
        self.loaded.append(picture.name)
        image = np.full((20, 40, 3), int(picture.name[0]), np.uint8)
        wing, beak = np.zeros((2, 20, 40), bool)
        wing[8:12, 10:20] = True
        wing[8, 10] = False
        beak[:2, :1] = True
        return image, {part: {WING: wing, BEAK: beak}.get(part, wing) for part in self.parts}


def test_a_picture_for_each_part() -> None:
    data = PartCrops(Birds(), "a photo of a {}")
    assert [picture.name for picture in data.pictures[:3]] == [
        "1.png#bird beak",
        "1.png#bird wing",
        "2.png#bird beak",
    ]
    assert (data.name, data.digest, data.classes) == ("birds", "d" * 64, ("bird beak", "bird wing"))
    assert data.unreadable == (("a.png", "no parts"), ("b.png", "unreadable"))
    first = data.pictures[1]
    assert (first.label, first.caption, first.side) == ("bird wing", "a photo of a bird wing", "train")
    assert [picture.group for picture in data.pictures] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_crop_shows_what_is_around_a_part_within_the_picture() -> None:
    data = PartCrops(Birds())
    beak, wing = (data.load(picture) for picture in data.pictures[2:4])
    assert (wing[0].shape, wing[1].shape) == ((8, 20, 3), (8, 20))
    assert wing[1][2:6, 5:15].sum() == wing[1].sum() == 39
    assert not wing[1][2, 5]
    assert (wing[0] == 2).all()
    assert beak[0].shape == (3, 1, 3)
    assert beak[1][:2].all() and not beak[1][2:].any()


def test_sides_are_those_of_the_set_and_tests_are_on_none() -> None:
    data = PartCrops(Birds())
    parts = split(data.pictures)
    assert [picture.name[0] for picture in parts.train] == ["1", "1", "2", "2"]
    assert [picture.name[0] for picture in parts.validation] == ["3", "3"]


def test_a_picture_is_decoded_once_for_its_parts() -> None:
    birds = Birds()
    data = PartCrops(birds)
    for _ in range(2):
        for picture in data.pictures:
            data.load(picture)
    assert birds.loaded == ["1.png", "2.png", "3.png", "4.png"]


def test_without_room_crops_are_cut_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "_KEPT_BYTES", 650)  # a wing takes 640 bytes, a beak 12
    birds = Birds()
    data = PartCrops(birds)
    for number in (1, 3, 1):
        data.load(data.pictures[number])
    assert birds.loaded == ["1.png", "2.png"]
    data.load(data.pictures[3])
    assert birds.loaded == ["1.png", "2.png"], "the last picture is at hand"
    data.load(data.pictures[5])
    data.load(data.pictures[3])
    assert birds.loaded == ["1.png", "2.png", "3.png", "2.png"]


def test_what_is_done_to_a_crop_stays_there() -> None:
    data = PartCrops(Birds())
    image, mask = data.load(data.pictures[1])
    image[:], mask[:] = 0, False
    again = data.load(data.pictures[1])
    assert (again[0] == 1).all() and again[1].any()


def test_a_copy_for_another_process_is_light() -> None:
    data = PartCrops(CritterParts(1, 64, species=SPECIES[:40]), "a {}")
    picture = next(picture for picture in data.pictures if picture.side == "train")
    image, mask = data.load(picture)
    copy = pickle.loads(pickle.dumps(data))
    assert copy.pictures == data.pictures
    assert not copy._kept
    assert all(np.array_equal(*pair) for pair in zip(copy.load(picture), (image, mask), strict=True))


@pytest.mark.parametrize(
    ("parts", "caption", "says"),
    [
        ((WING,), "{}", "birds has one class, 'bird wing'"),
        ((), "{}", "birds has no part in any picture"),
        ((BEAK, WING), "bird", "does not say where the class goes"),
    ],
)
def test_what_cannot_be_taught(parts: tuple[Part, ...], caption: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        PartCrops(Birds(parts), caption)


def test_a_set_of_parts_is_opened_as_its_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("slip.data.sets.open_parts", lambda source, progress: Birds())
    opened = open_set("critters-parts", "a {}")
    assert isinstance(opened, PartCrops)
    assert opened.pictures[0].caption == "a bird beak"
