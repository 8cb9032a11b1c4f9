from __future__ import annotations

from pathlib import Path

import pytest
from data.sets_on_disk import save_folders

from slip.data.drawn import DrawnSet
from slip.data.sets import open_set
from slip.errors import ImageError, SlipError, SlipWarning, UsageError


def test_critters_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_set("critters", "a {}") == DrawnSet("a {}")


def test_a_folder_named_critters_is_reached_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_folders(Path("critters"))
    with pytest.warns(SlipWarning, match="write ./critters for the folder"):
        assert isinstance(open_set("critters"), DrawnSet)
    assert open_set("./critters").classes == ("ant", "bee")


@pytest.mark.parametrize("name", ["table.csv", "table.JSONL"])
def test_folders_and_tables_hold_the_same(tmp_path: Path, name: str) -> None:
    folders = open_set(str(save_folders(tmp_path / "bugs")), "a {}")
    path = tmp_path / "bugs" / name
    rows = [f"{picture.name},{picture.label}" for picture in folders.pictures]
    if path.suffix == ".csv":
        path.write_text("\n".join(["image,label", *rows]))
    else:
        pairs = (row.split(",") for row in rows)
        path.write_text("\n".join(f'{{"image": "{image}", "label": "{label}"}}' for image, label in pairs))
    table = open_set(str(path), "a {}")
    assert (table.pictures, table.classes, table.digest) == (
        folders.pictures,
        folders.classes,
        folders.digest,
    )


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "is no data set|does not exist"),
        ("nowhere", "'nowhere' does not exist; give a folder of class folders, a .csv or .jsonl table"),
        ("nowhere.csv", "does not exist"),
        ("notes.txt", "'notes.txt' is no data set; give a folder"),
        ("notes.txt/ant", "does not exist"),
        ("a\0b", "cannot read|does not exist"),
        ("x" * 5000, "cannot read '.*: File name too long; check the path"),
    ],
)
def test_what_is_no_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").touch()
    with pytest.raises((UsageError, ImageError), match=says) as caught:
        open_set(source)
    assert isinstance(caught.value, SlipError) and "\n" not in str(caught.value)
