from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from slip.data import drawn
from slip.data.critters import SPECIES, layouts, make_portrait
from slip.data.drawn import DRAWING, DrawnSet
from slip.errors import UsageError
from slip.images import load_image
from slip.options import CritterOptions, Style
from slip.types import Image

FEW = SPECIES[:3]
THUMBNAILS = {
    1: [
        [74, 74, 67, 68, 72, 73, 105, 69, 68, 70, 85, 62, 66, 67, 60, 65],
        [255, 255, 254, 255, 255, 129, 181, 255, 231, 102, 137, 255, 255, 219, 236, 255],
        [194, 150, 149, 181, 93, 94, 74, 86, 110, 111, 105, 100, 113, 110, 105, 103],
        [239, 211, 206, 245, 132, 89, 137, 249, 237, 211, 235, 255, 255, 255, 255, 255],
    ]
}
"""Of two species, two portraits each, by the version of the drawings."""


def test_the_whole_set() -> None:
    found = DrawnSet()
    assert found.name == "critters" and found.unreadable == ()
    assert found.classes == tuple(sorted(kin.name for kin in SPECIES))
    assert Counter(picture.label for picture in found.pictures) == dict.fromkeys(found.classes, 20)
    assert len({picture.group for picture in found.pictures}) == len(found.pictures)
    assert found.pictures[0].caption == found.pictures[0].label


@pytest.mark.parametrize(("index", "style"), [(0, "picture"), (1, "artwork"), (2, "picture")])
def test_pictures_are_portraits_in_turns_of_style(index: int, style: Style) -> None:
    found = DrawnSet("a {}", count=3, size=64, seed=4, species=FEW)
    for number, kin in enumerate(FEW):
        picture = next(one for one in found.pictures if one.name == f"{kin.name}/{kin.name}_000{index}.png")
        assert (picture.label, picture.caption) == (kin.name, f"a {kin.name}")
        image, mask = found.load(picture)
        portrait = make_portrait(kin, (4, number, index), 64, style)
        assert np.array_equal(image, portrait.image) and np.array_equal(mask, portrait.objects == 1)


def test_they_are_those_of_the_command() -> None:
    found = DrawnSet(count=2, size=32, seed=3)
    by_name = {picture.name: picture for picture in found.pictures}
    for style, index in (("picture", 0), ("artwork", 1)):
        files = list(layouts.draw_files(CritterOptions("folders", 2, 32, 3, style)))  # type: ignore[arg-type]
        for file in (files[index], files[150 + index]):
            assert np.array_equal(found.load(by_name[file.path])[0], load_image(file.content()))


def test_drawn_once_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    drawings: list[object] = []

    def counted(*given: object) -> object:
        drawings.append(given)
        return make_portrait(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(drawn, "make_portrait", counted)
    monkeypatch.setattr(drawn, "_KEPT_BYTES", 2 * 32 * 32 * 4)
    found = DrawnSet(count=1, size=32, species=FEW)
    first = [found.load(picture) for picture in found.pictures]
    for image, mask in first:
        image[:] = 0
        mask[:] = False
    again = [found.load(picture) for picture in found.pictures]
    assert len(drawings) == 4, "two are kept, the third is drawn each time"
    assert all(image.any() and mask.any() for image, mask in again)


def test_a_copy_for_another_process_is_light_and_draws_the_same() -> None:
    found = DrawnSet("a {}", count=2, size=32, seed=9, species=FEW)
    image, mask = found.load(found.pictures[1])
    sent = pickle.dumps(found)
    other = pickle.loads(sent)
    assert len(sent) < 3000
    assert other.pictures == found.pictures and other.digest == found.digest
    assert np.array_equal(other.load(found.pictures[1])[0], image)


def test_all_that_decides_is_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    def digests() -> list[str]:
        changes: list[dict[str, object]] = [{}, {"count": 2}, {"size": 64}, {"seed": 1}, {"caption": "a {}"}]
        changes.append({"species": SPECIES[:2]})
        return [DrawnSet(**{"species": FEW, **change}).digest for change in changes]  # type: ignore[arg-type]

    before = digests()
    assert len(set(before)) == 6 and digests() == before
    monkeypatch.setattr(drawn, "DRAWING", DRAWING + 1)
    assert not set(digests()) & set(before)


def thumbnail(image: Image) -> list[int]:
    """The mean of each sixteenth of a 128 px picture."""
    means: list[int] = (
        image.reshape(4, 32, 4, 32, 3).mean(axis=(1, 3, 4)).round().astype(int).ravel().tolist()
    )
    return means


def test_drawings_are_those_of_their_version() -> None:
    found = DrawnSet(species=SPECIES[:2], count=2)
    drawings = [thumbnail(found.load(picture)[0]) for picture in found.pictures]
    np.testing.assert_allclose(
        drawings, THUMBNAILS[DRAWING], atol=2, err_msg="critters changed: raise DRAWING, add THUMBNAILS"
    )


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"count": 0}, "count is 0"),
        ({"size": 3}, "size is 3"),
        ({"seed": -1}, "the seed -1"),
        ({"caption": "critter"}, "put {} into it once"),
    ],
)
def test_bad_values(wanted: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        DrawnSet(**wanted)  # type: ignore[arg-type]
