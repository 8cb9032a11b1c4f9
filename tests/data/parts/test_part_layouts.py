"""Where the files of a set are found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from data.parts.sets_of_parts import image, save_annotations, save_set, save_side

from slip.data.parts import SIDES, open_parts
from slip.data.parts.layouts import Finder, find_annotations, find_layout, side_of
from slip.errors import ImageError, SlipWarning, UsageError

WORDS = {"train": 0, "val": 10, "test": 20}
"""The sides as PartImageNet calls them, and where their drawings begin."""


def names_of(source: Path) -> dict[str, list[str]]:
    data = open_parts(str(source))
    assert data.faults == ()
    return {side: [picture.name for picture in data.pictures(side)] for side in SIDES}


def partimagenet(root: Path) -> Path:
    """As it is published now, with the index pictures that lie beside its annotations."""
    for word, seed in WORDS.items():
        names = [f"n01443537_{number}.JPEG" for number in (seed + 1, seed + 2)]
        pictures = {str(root / "images" / word / name): seed + i for i, name in enumerate(names)}
        save_side(root / "annotations" / word / f"{word}.json", pictures, names)
        (root / "annotations" / word / "n01443537_1.png").touch()
    return root


def older(root: Path, folder: str = "") -> Path:
    """As it was published: a folder for each synset, which the names leave out."""
    for word, seed in WORDS.items():
        names = [f"n014{number}_7.JPEG" for number in (seed + 1, seed + 2)]
        pictures = {
            str(root / word / name[: name.index("_")] / name): seed + i for i, name in enumerate(names)
        }
        save_side(root / folder / f"{word}.json", pictures, names)
    return root


def test_partimagenet(tmp_path: Path) -> None:
    assert names_of(partimagenet(tmp_path)) == {
        "train": ["images/train/n01443537_1.JPEG", "images/train/n01443537_2.JPEG"],
        "validation": ["images/val/n01443537_11.JPEG", "images/val/n01443537_12.JPEG"],
        "test": ["images/test/n01443537_21.JPEG", "images/test/n01443537_22.JPEG"],
    }


@pytest.mark.parametrize("folder", ["", "annotations"])
def test_the_older_partimagenet(tmp_path: Path, folder: str) -> None:
    found = names_of(older(tmp_path, folder))
    assert found["train"] == ["train/n0141/n0141_7.JPEG", "train/n0142/n0142_7.JPEG"]
    assert found["validation"] == ["val/n01411/n01411_7.JPEG", "val/n01412/n01412_7.JPEG"]
    assert found["test"] == ["test/n01421/n01421_7.JPEG", "test/n01422/n01422_7.JPEG"]


def test_names_with_their_synset(tmp_path: Path) -> None:
    names = ["n01/n01_1.JPEG", "n02/n02_1.JPEG"]
    save_side(
        tmp_path / "train.json", {str(tmp_path / "train" / name): i for i, name in enumerate(names)}, names
    )
    found = names_of(tmp_path)
    assert sorted(found["train"] + found["validation"]) == [f"train/{name}" for name in names]


def test_a_folder_for_each_side(tmp_path: Path) -> None:
    for side, seed in (("trainingset", 0), ("testset", 50)):
        names = [f"{side}{number}.jpg" for number in range(5)]
        pictures = {str(tmp_path / side / "JPEGImages" / name): seed + i for i, name in enumerate(names)}
        told = [f"JPEGImages/{name}" for name in names]
        save_side(tmp_path / side / "annotations.json", pictures, told)
    (tmp_path / "labels.json").write_text('{"names": ["wheel"], "images": {}}')
    found = names_of(tmp_path)
    assert [len(found[side]) for side in SIDES] == [4, 1, 5]
    assert found["test"][0] == "testset/JPEGImages/testset0.jpg"


def test_one_file_without_a_side(tmp_path: Path) -> None:
    found = names_of(save_set(tmp_path, 10))
    assert [len(found[side]) for side in SIDES] == [8, 2, 0]
    assert names_of(tmp_path / "annotations.json") == found


def test_one_file_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partimagenet(tmp_path)
    expected = {
        "train": [],
        "validation": [],
        "test": ["images/test/n01443537_21.JPEG", "images/test/n01443537_22.JPEG"],
    }
    assert names_of(tmp_path / "annotations" / "test" / "test.json") == expected
    monkeypatch.chdir(tmp_path / "annotations" / "test")
    assert names_of(Path("test.json")) == expected
    monkeypatch.chdir(tmp_path)
    assert names_of(Path())["test"] == expected["test"]


@pytest.mark.parametrize(
    ("path", "side"),
    [
        ("train.json", "train"),
        ("annotations/val/val.json", "validation"),
        ("validation/annotations.json", "validation"),
        ("testset/annotations.json", "test"),
        ("Training_Set.json", "train"),
        ("instances_val2017.json", "validation"),
        ("test/train.json", "train"),
        ("annotations.json", None),
        ("latest.json", None),
        ("retrain.json", None),
    ],
)
def test_sides_are_said_by_paths(path: str, side: str | None) -> None:
    assert side_of(Path(path)) == side


def test_annotations_are_looked_for_three_levels_down(tmp_path: Path) -> None:
    for path in ("a.json", "b/a.JSON", "b/c/a.json", "b/c/d/a.json", ".hidden/a.json", "b/._a.json"):
        save_annotations(tmp_path / path, [], [])
    (tmp_path / "b" / "half.json").write_text('{"images": [], "annotations": []}')
    (tmp_path / "b" / "folder.json").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in find_annotations(tmp_path)] == [
        "a.json",
        "b/a.JSON",
        "b/c/a.json",
    ]


def test_names_of_lists_are_found_across_the_blocks_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in range(1, 40):
        monkeypatch.setattr("slip.data.parts.layouts._CHUNK", block)
        path = save_annotations(tmp_path / "a.json", [], [])
        assert find_annotations(tmp_path) == [path]


def test_two_files_for_one_side_are_one_too_many(tmp_path: Path) -> None:
    save_annotations(tmp_path / "a" / "train_1.json", [], [])
    save_annotations(tmp_path / "b" / "train_2.json", [], [])
    with pytest.raises(UsageError, match="2 files of annotations for train: .*train_1.*train_2.*; keep one"):
        find_layout(tmp_path)


def test_of_two_files_the_one_named_after_its_side_is_read(tmp_path: Path) -> None:
    bare = save_annotations(tmp_path / "train.json", [], [])
    save_annotations(tmp_path / "train_whole.json", [], [])
    with pytest.warns(SlipWarning, match="of 2 files of annotations for train .*train.json' is read"):
        assert find_layout(tmp_path).annotations == {"train": bare}


def test_a_folder_without_annotations(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(UsageError, match="holds no annotations of parts; give a folder with a .json"):
        find_layout(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_annotations_that_may_not_be_read(tmp_path: Path) -> None:
    save_annotations(tmp_path / "a.json", [], []).chmod(0)
    with pytest.raises(ImageError, match="cannot read .*a.json.*check its permissions"):
        find_annotations(tmp_path)


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to(tmp_path)
    path = save_annotations(tmp_path / "z.json", [], [])
    (tmp_path / "lost.json").symlink_to(tmp_path / "lost.json")
    assert find_annotations(tmp_path) == [path]


def test_the_nearest_picture_is_found_and_the_other_name_is_tried(tmp_path: Path) -> None:
    file = save_annotations(tmp_path / "annotations" / "train.json", [image(1, "1.png")], [])
    finder = Finder(tmp_path, file)
    assert finder.find(["1.png"]) is None
    for path in ("1.png", "images/1.png", "train/2.png", "val/3.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    finder = Finder(tmp_path, file)
    assert finder.find(["1.png"]) == "1.png"
    assert finder.find(["gone/2.png", "2.png"]) == "train/2.png"
    assert finder.find(["3.png"]) is None, "it is on another side"
    assert finder.find(["x" * 5000, "images"]) is None
