"""Sets of files: what is kept, what is a fault, which side a picture is on."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from data.parts.sets_of_parts import (
    CATEGORIES,
    HEAD,
    SIZE,
    WING,
    annotation,
    image,
    save_annotations,
    save_set,
    save_side,
    square,
)
from data.sets_on_disk import drawing, save

from slip.data.parts import SIDES, CocoParts, Part, PartSet, open_parts
from slip.errors import ImageError, UsageError

BIRD_WING, BIRD_HEAD = Part("bird wing", "wing", "bird"), Part("bird head", "head", "bird")
REAL = Path(__file__).parents[4] / "shared" / "data" / "carparts"


def names(data: PartSet) -> dict[str, list[str]]:
    return {side: [picture.name for picture in data.pictures(side)] for side in SIDES}


def everything(data: PartSet) -> list[str]:
    return sorted(name for own in names(data).values() for name in own)


def faults(data: PartSet) -> list[tuple[str, str]]:
    return [(fault.kind, fault.where) for fault in data.faults]


def open_with(folder: Path, images: list[Any], annotations: list[Any], **more: Any) -> CocoParts:
    """The set of one file of annotations; ``good.png`` is in it whatever else is."""
    save(folder / "good.png", drawing(1000))
    save_annotations(
        folder / "a.json",
        [image(1000, "good.png"), *images],
        [annotation(1000, 1000, WING, [square(1, 1)]), *annotations],
        **more,
    )
    data = open_parts(str(folder))
    assert isinstance(data, CocoParts) and "good.png" in everything(data)
    return data


def test_masks_are_the_union_of_a_part(tmp_path: Path) -> None:
    polygons = [[square(0, 0)], [square(20, 0), square(20, 30)], [square(4, 4)]]
    save(tmp_path / "1.png", drawing(1))
    annotations = [annotation(number, 1, WING, polygon) for number, polygon in enumerate(polygons)]
    data = open_with(tmp_path, [image(1, "1.png")], [*annotations, annotation(9, 1, HEAD, [square(40, 8)])])
    [picture] = [own for side in SIDES for own in data.pictures(side) if own.name == "1.png"]
    assert (picture.parts, picture.subject) == ((BIRD_HEAD, BIRD_WING), "bird")
    expected = np.zeros(SIZE, bool)
    for x, y in ((0, 0), (20, 0), (20, 30), (4, 4)):
        expected[y : y + 8, x : x + 8] = True
    pixels, masks = data.load(picture)
    assert np.array_equal(pixels, drawing(1))
    assert np.array_equal(masks[BIRD_WING], expected)
    assert masks[BIRD_HEAD].sum() == 64
    assert data.shares(picture)[BIRD_HEAD] == 64 / (SIZE[0] * SIZE[1])
    assert data.parts == (BIRD_HEAD, BIRD_WING)


def test_categories_that_nothing_shows_are_no_parts(tmp_path: Path) -> None:
    categories = [*CATEGORIES, {"id": 3, "name": "Bird Tail", "supercategory": "Bird"}]
    data = open_with(tmp_path, [], [annotation(1, 1000, 3, [square(900, 900)])], categories=categories)
    assert data.parts == (BIRD_WING,)
    assert faults(data) == [("empty mask", "a.json: annotation 1")]


def test_categories_of_one_text_are_one_part(tmp_path: Path) -> None:
    categories = [*CATEGORIES, {"id": 3, "name": "bird_wing"}]
    data = open_with(tmp_path, [], [annotation(1, 1000, 3, [square(30, 30)])], categories=categories)
    [picture] = data.pictures("train")
    assert data.parts == picture.parts == (BIRD_WING,)
    assert data.load(picture)[1][BIRD_WING].sum() == 128


@pytest.mark.parametrize(
    ("categories", "subject"),
    [
        (CATEGORIES, "bird"),
        ([{"id": WING, "name": "wing"}, {"id": HEAD, "name": "head"}], ""),
        ([CATEGORIES[0], {"id": HEAD, "name": "Head", "supercategory": "Fish"}], ""),
        ([CATEGORIES[0], {"id": HEAD, "name": "head"}], ""),
    ],
)
def test_the_subject_is_what_owns_every_part(tmp_path: Path, categories: Any, subject: str) -> None:
    data = open_with(tmp_path, [], [annotation(1, 1000, HEAD, [square(30, 30)])], categories=categories)
    assert data.pictures("train")[0].subject == subject


class TestFaults:
    def test_nothing_is_broken(self, tmp_path: Path) -> None:
        assert faults(open_parts(str(save_set(tmp_path)))) == []

    def test_missing_pictures(self, tmp_path: Path) -> None:
        data = open_with(tmp_path, [image(1, "gone.png")], [annotation(1, 1, WING, [square(1, 1)])])
        assert faults(data) == [("missing picture", "a.json: gone.png")]

    @pytest.mark.parametrize("content", [b"", b"no picture", b"half"])
    def test_unreadable_pictures(self, tmp_path: Path, content: bytes) -> None:
        path = save(tmp_path / "1.png", drawing(1))
        path.write_bytes(path.read_bytes()[:-900] if content == b"half" else content)
        data = open_with(tmp_path, [image(1, "1.png")], [annotation(1, 1, WING, [square(1, 1)])])
        assert faults(data) == [("unreadable picture", "1.png")]

    def test_pictures_of_another_size(self, tmp_path: Path) -> None:
        save(tmp_path / "1.png", drawing(1, (24, 32)))
        save(tmp_path / "2.png", drawing(2, SIZE[::-1]))
        images = [image(1, "1.png"), image(2, "2.png")]
        annotations = [annotation(number, number, WING, [square(1, 1)]) for number in (1, 2)]
        found = faults(open_with(tmp_path, images, annotations))
        assert found == [("picture of another size", "1.png"), ("picture of another size", "2.png")]

    def test_rotated_pictures(self, tmp_path: Path) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        for name in ("stored.jpg", "upright.jpg"):
            PIL.Image.fromarray(drawing(3)).save(tmp_path / name, exif=exif)
        images = [image(1, "stored.jpg"), image(2, "upright.jpg", SIZE[::-1])]
        annotations = [annotation(number, number, WING, [square(1, 1)]) for number in (1, 2)]
        data = open_with(tmp_path, images, annotations)
        assert faults(data) == [("rotated picture", "stored.jpg")]
        assert "upright.jpg" in everything(data)

    def test_pictures_listed_twice(self, tmp_path: Path) -> None:
        save(tmp_path / "images" / "1.png", drawing(1))
        images = [image(1, "images/1.png"), image(2, "1.png")]
        annotations = [annotation(1, 1, WING, [square(1, 1)]), annotation(2, 2, HEAD, [square(1, 1)])]
        data = open_with(tmp_path, images, annotations)
        assert faults(data) == [("duplicate picture", "a.json: 1.png")]

    def test_pictures_without_parts(self, tmp_path: Path) -> None:
        images = [image(number, f"{number}.png") for number in (1, 2, 3)]
        for number in (1, 2, 3):
            save(tmp_path / f"{number}.png", drawing(number))
        categories = [*CATEGORIES, {"id": 3, "name": "_background_"}]
        annotations = [annotation(1, 2, WING, [square(900, 900)]), annotation(2, 3, 3, [square(1, 1)])]
        data = open_with(tmp_path, images, annotations, categories=categories)
        assert faults(data) == [
            ("empty mask", "a.json: annotation 1"),
            ("no parts", "1.png"),
            ("no parts left", "2.png"),
            ("no parts left", "3.png"),
        ]

    def test_polygons_and_codes(self, tmp_path: Path) -> None:
        save(tmp_path / "1.png", drawing(1))
        broken: list[Any] = [
            [[1, 2, 3, 4], square(1, 1)],
            None,
            {"size": [4, 4], "counts": [0, 16]},
            [[1, 2, 3, 4, 5, float("nan")]],
            [],
        ]
        annotations = [annotation(number, 1, WING, shape) for number, shape in enumerate(broken)]
        annotations += [annotation(7, 1, 77, None), annotation(0, 1, WING, None)]
        data = open_with(tmp_path, [image(1, "1.png")], annotations)
        assert faults(data) == [
            ("broken RLE", "a.json: annotation 2"),
            ("duplicate annotation id", "a.json: annotation 0"),
            ("no segmentation", "a.json: annotation 1"),
            ("no segmentation", "a.json: annotation 4"),
            ("polygon not finite", "a.json: annotation 3"),
            ("short polygon", "a.json: annotation 0"),
            ("unknown category", "a.json: annotation 7"),
        ]
        assert "1.png" in everything(data)

    def test_a_set_of_which_nothing_is_left(self, tmp_path: Path) -> None:
        root = save_set(tmp_path / "birds", 4)
        for path in (root / "images").iterdir():
            path.unlink()
        with pytest.raises(UsageError, match="no picture with parts that can be used: 4 x missing picture"):
            open_parts(str(root))

    def test_a_set_of_nothing(self, tmp_path: Path) -> None:
        save_annotations(tmp_path / "a.json", [], [])
        with pytest.raises(UsageError, match="lists no picture"):
            open_parts(str(tmp_path))


class TestSides:
    def place(self, name: str) -> bytes:
        return sha256(f"42/{name}".encode()).digest()

    def test_a_fifth_is_held_out_the_same_everywhere(self, tmp_path: Path) -> None:
        here, there = (names(open_parts(str(save_set(tmp_path / name, 20)))) for name in "ab")
        assert here == there
        assert (len(here["train"]), len(here["validation"]), here["test"]) == (16, 4, [])
        every = sorted((f"images/{number}.png" for number in range(20)), key=self.place)
        assert here["validation"] == sorted(every[:4])

    @pytest.mark.parametrize(("count", "held"), [(1, 0), (2, 1), (7, 1), (8, 2)])
    def test_small_sets(self, tmp_path: Path, count: int, held: int) -> None:
        found = names(open_parts(str(save_set(tmp_path, count))))
        assert (len(found["train"]), len(found["validation"])) == (count - held, held)

    def test_copies_are_held_out_together(self, tmp_path: Path) -> None:
        told = [f"{number}.png" for number in range(20)]
        pictures = {str(tmp_path / name): number // 4 for number, name in enumerate(told)}
        save_side(tmp_path / "annotations.json", pictures, told)
        data = open_parts(str(tmp_path))
        held = {int(name[:-4]) // 4 for name in names(data)["validation"]}
        assert len(held) == 1 and len(data.pictures("validation")) == 4 and faults(data) == []

    def test_the_sides_that_are_told_stay(self, tmp_path: Path) -> None:
        for word, seed in (("train", 0), ("val", 10)):
            told = [f"{word}{number}.png" for number in range(3)]
            pictures = {str(tmp_path / word / name): seed + i for i, name in enumerate(told)}
            save_side(tmp_path / f"{word}.json", pictures, told)
        found = names(open_parts(str(tmp_path)))
        assert found == {
            "train": [f"train/train{number}.png" for number in range(3)],
            "validation": [f"val/val{number}.png" for number in range(3)],
            "test": [],
        }

    def test_a_picture_on_two_sides_stays_on_the_later(self, tmp_path: Path) -> None:
        seeds = {"train": (0, 1, 2, 3), "val": (2, 11, 12), "test": (3, 12, 22)}
        for word, own in seeds.items():
            told = [f"{word}{number}.png" for number in range(len(own))]
            pictures = {str(tmp_path / word / name): own[i] for i, name in enumerate(told)}
            save_side(tmp_path / f"{word}.json", pictures, told)
        data = open_parts(str(tmp_path))
        assert {side: len(own) for side, own in names(data).items()} == {
            "train": 2,
            "validation": 2,
            "test": 3,
        }
        assert faults(data) == [
            ("on two sides", "train/train2.png (train) is val/val0.png (validation)"),
            ("on two sides", "train/train3.png (train) is test/test0.png (test)"),
            ("on two sides", "val/val2.png (validation) is test/test1.png (test)"),
        ]

    def test_one_file_on_two_sides(self, tmp_path: Path) -> None:
        for word in ("train", "test"):
            save_side(tmp_path / f"{word}.json", {str(tmp_path / f"{i}.png"): i for i in range(3)}, ["0.png"])
        data = open_parts(str(tmp_path))
        assert names(data) == {"train": [], "validation": [], "test": ["0.png"]}
        assert faults(data) == [("on two sides", "0.png (train) is 0.png (test)")]


class TestDigest:
    def digest(self, root: Path) -> str:
        return open_parts(str(root)).digest

    def test_it_is_of_the_contents_not_of_the_place(self, tmp_path: Path) -> None:
        assert self.digest(save_set(tmp_path / "a")) == self.digest(save_set(tmp_path / "b"))

    def test_it_changes_with_each_of_them(self, tmp_path: Path) -> None:
        digests = [self.digest(save_set(tmp_path))]
        save(tmp_path / "images" / "1.png", drawing(77))
        digests.append(self.digest(tmp_path))
        path = tmp_path / "annotations.json"
        content = json.loads(path.read_text())
        for change in (
            lambda: content["annotations"][0].update(segmentation=[square(5, 5)]),
            lambda: content["annotations"].pop(),
            lambda: content["categories"][0].update(name="Bird Foot"),
            lambda: content["images"].pop(),
        ):
            change()
            path.write_text(json.dumps(content))
            digests.append(self.digest(tmp_path))
        path.rename(tmp_path / "test.json")
        digests.append(self.digest(tmp_path))
        assert len(set(digests)) == len(digests)

    def test_what_changes_no_mask_does_not_change_it(self, tmp_path: Path) -> None:
        before = self.digest(save_set(tmp_path))
        path = tmp_path / "annotations.json"
        content = json.loads(path.read_text())
        content["images"].reverse()
        content["info"] = {"year": 2026}
        path.write_text(json.dumps(content, indent=1))
        assert self.digest(tmp_path) == before


class TestLoad:
    def test_a_picture_that_is_gone(self, tmp_path: Path) -> None:
        data = open_parts(str(save_set(tmp_path)))
        picture = data.pictures("train")[0]
        (tmp_path / picture.name).unlink()
        with pytest.raises(ImageError, match="does not exist"):
            data.load(picture)

    def test_a_picture_that_became_another(self, tmp_path: Path) -> None:
        data = open_parts(str(save_set(tmp_path)))
        picture = data.pictures("train")[0]
        save(tmp_path / picture.name, drawing(1, (10, 10)))
        with pytest.raises(ImageError, match="another size than when it was opened; start again"):
            data.load(picture)

    def test_progress_reaches_its_total(self, tmp_path: Path) -> None:
        calls: list[tuple[str, int, int]] = []
        open_parts(str(save_set(tmp_path, 5)), lambda *call: calls.append(call))
        assert calls == [("read pictures", done, 5) for done in range(1, 6)]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the photographs of car parts are not in {REAL}")
def test_real_photographs(tmp_path: Path) -> None:
    data = open_parts(str(REAL / "testset"))
    pictures = [picture for side in SIDES for picture in data.pictures(side)]
    assert (len(pictures), len(data.parts), data.faults) == (100, 18, ())
    assert sum(len(picture.parts) for picture in pictures) == 779
    assert {part.owner for part in data.parts} == {""}
