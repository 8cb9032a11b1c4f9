from __future__ import annotations

from pathlib import Path

import pytest
from data.parts.sets_of_parts import save_annotations, save_set
from data.sets_on_disk import save_folders

from slip.data.parts import CocoParts, CritterParts, is_parts, open_parts
from slip.errors import ImageError, SlipError, SlipWarning, UsageError


def test_critters_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_parts("critters-parts") == CritterParts()
    assert is_parts("critters-parts")


def test_a_folder_of_that_name_is_reached_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_set(Path("critters-parts"))
    with pytest.warns(SlipWarning, match="write ./critters-parts for the folder"):
        assert isinstance(open_parts("critters-parts"), CritterParts)
    assert isinstance(open_parts("./critters-parts"), CocoParts)


def test_a_folder_and_its_annotations_are_one_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_set(tmp_path / "birds")
    whole, file = open_parts(str(tmp_path / "birds")), open_parts(str(tmp_path / "birds/annotations.json"))
    assert (whole.name, whole.digest, whole.parts) == (file.name, file.digest, file.parts)
    assert whole.name == "birds"
    monkeypatch.chdir(tmp_path / "birds")
    assert open_parts(".").name == open_parts("annotations.json").name == "birds"
    assert open_parts(".").digest == whole.digest


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "is no set of parts|does not exist"),
        ("nowhere", "'nowhere' does not exist; give a folder or a .json with annotations"),
        ("nowhere.json", "'nowhere.json' does not exist"),
        ("notes.txt", "'notes.txt' is no set of parts; give .* or 'critters-parts'"),
        ("notes.txt/a.json", "does not exist"),
        ("broken.json", "'broken.json' is not JSON|broken.json' is not JSON"),
        ("classes", "'classes' holds no annotations of parts"),
        ("a\0b", "cannot read|does not exist"),
        ("x" * 5000, "cannot read '.*: File name too long; check the path"),
    ],
)
def test_what_is_no_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").touch()
    Path("broken.json").write_text("{")
    save_folders(Path("classes"))
    with pytest.raises((UsageError, ImageError), match=says) as caught:
        open_parts(source)
    assert isinstance(caught.value, SlipError) and "\n" not in str(caught.value)


def test_sets_of_parts_are_told_from_class_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_folders(Path("classes"))
    Path("classes/ant/notes.json").write_text('{"images": []}')
    save_annotations(Path("deep/annotations/train/train.json"), [], [])
    save_annotations(Path("deeper/a/b/c/train.json"), [], [])
    Path("table.csv").write_text("image,label\n")
    found = {
        source
        for source in (
            "classes",
            "deep",
            "deeper",
            "table.csv",
            "critters",
            "nowhere",
            "",
            "a\0b",
            "x" * 5000,
        )
        if is_parts(source)
    }
    assert found == {"deep"}
    assert is_parts("nowhere.json") and is_parts("deep/annotations/train/train.JSON")
