"""``slip data``: tables on stdout, all else on stderr, and a sheet to look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli.runner import run, run_warm
from data.parts.sets_of_parts import WING, annotation, image, save_annotations, save_set, square
from data.sets_on_disk import drawing, save, save_folders

from slip.images import load_image


def tables(lines: list[str]) -> list[list[list[str]]]:
    """The tables of a standard output, each a header and rows."""
    text = "\n".join(lines).split("\n\n")
    return [[line.split("\t") for line in table.split("\n")] for table in text]


def test_a_set_of_parts(tmp_path: Path) -> None:
    save_set(tmp_path / "birds", 10)
    done = run_warm("data", "birds", cwd=tmp_path)
    assert done.code == 0
    sides, parts = tables(done.lines)
    assert sides[0] == ["side", "pictures", "triples"]
    assert [row[:2] for row in sides[1:]] == [["train", "8"], ["validation", "2"], ["test", "0"]]
    assert sum(int(row[2]) for row in sides[1:]) == 15
    assert parts[0] == ["owner", "part", "train", "validation", "test", "median area %", "asked as"]
    head, wing = parts[1:]
    assert (head[:2], head[5:]) == (["bird", "head"], ["2.08", "bird head; head"])
    assert wing == ["bird", "wing", "8", "2", "0", "2.08", "bird wing; wing"]
    assert "slip: note: nothing is broken" in done.stderr


def test_what_is_broken_is_counted_and_named(tmp_path: Path) -> None:
    save(tmp_path / "1.png", drawing(1))
    images = [image(number, f"{number}.png") for number in range(1, 7)]
    annotations = [annotation(number, number, WING, [square(1, 1), [1, 2]]) for number in range(1, 7)]
    save_annotations(tmp_path / "a.json", images, annotations)
    done = run_warm("data", "a.json", cwd=tmp_path)
    assert done.code == 0
    assert tables(done.lines)[2] == [
        ["left out", "times", "first"],
        ["missing picture", "5", "a.json: 2.png, a.json: 3.png, a.json: 4.png, ..."],
        ["short polygon", "1", "a.json: annotation 1"],
    ]


def test_a_sheet(tmp_path: Path) -> None:
    save_set(tmp_path / "birds", 3)
    done = run_warm("data", "birds", "-o", "sheet.png", cwd=tmp_path)
    assert done.code == 0 and "sheet in 'sheet.png'" in done.stderr
    sheet = (tmp_path / "sheet.png").read_bytes()
    assert load_image(sheet).shape[1] == 12 + 3 * (256 + 12)
    again = run_warm("data", "birds", "-o", "sheet.png", cwd=tmp_path)
    assert (again.code, again.stdout) == (2, b"")
    assert "exists; replace it with --overwrite" in again.stderr
    third = run_warm("data", "birds", "-o", "sheet.png", "--overwrite", cwd=tmp_path)
    assert third.code == 0 and (tmp_path / "sheet.png").read_bytes() == sheet


def test_class_folders(tmp_path: Path) -> None:
    save_folders(tmp_path / "bugs", 3)
    save(tmp_path / "bugs" / "bee" / "copy.png", drawing(100))
    (tmp_path / "bugs" / "bee" / "broken.png").write_bytes(b"no picture")
    done = run_warm("data", "bugs", cwd=tmp_path)
    assert done.code == 0
    numbers, classes, left_out = tables(done.lines)
    assert numbers == [["pictures", "classes", "copies", "left out"], ["7", "2", "1", "1"]]
    assert classes == [["class", "pictures"], ["ant", "3"], ["bee", "4"]]
    assert left_out[0] == ["left out", "times", "first"]
    assert left_out[1][1:] == ["1", "bee/broken.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "Missing argument"),
        (["nowhere"], 2, "'nowhere' does not exist"),
        (["nowhere.json"], 2, "'nowhere.json' does not exist; give a folder or a .json"),
        (["broken.json"], 2, "broken.json' is not JSON"),
        (["empty.json"], 2, "lists no picture"),
        (["birds", "-o", "sheet.gif"], 2, "'sheet.gif' is no name for a sheet; end it in .png or .jpg"),
        (["birds", "-o", "no/sheet.png"], 3, "its folder does not exist"),
        (["birds", "-o", "birds"], 2, "'birds' is no name for a sheet"),
        (["bugs", "-o", "sheet.png"], 2, "-o draws parts, and this data set has none"),
        (["birds", "more"], 2, "more"),
    ],
)
def test_misuse_is_one_line(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    save_set(tmp_path / "birds", 2)
    save_folders(tmp_path / "bugs", 2)
    (tmp_path / "broken.json").write_text("{")
    save_annotations(tmp_path / "empty.json", [], [])
    done = run_warm("data", *arguments, cwd=tmp_path)
    assert (done.code, done.stdout) == (code, b"")
    told = done.stderr.splitlines()
    assert len(told) == 1 and says in told[0] and told[0].startswith("slip: error: ")


HOSTILE: dict[str, Any] = {
    "lists for objects": {"images": [[]], "annotations": [[]], "categories": [[]]},
    "null": {"images": None, "annotations": None, "categories": None},
    "a number": 7,
    "objects for lists": {"images": {"1": {}}, "annotations": {}, "categories": {}},
    "no size": {"images": [{"id": 1, "file_name": "1.png"}], "annotations": [], "categories": []},
    "not a number": {"images": [image(1, "1.png", (float("nan"), 64))], "annotations": [], "categories": []},  # type: ignore[arg-type]
    "a huge size": {"images": [image(1, "1.png", (10**30, 10**30))], "annotations": [], "categories": []},
    "another folder": {"images": [image(1, "/etc/passwd")], "annotations": [], "categories": []},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_annotations_are_one_line(tmp_path: Path, name: str) -> None:
    save(tmp_path / "1.png", drawing(1))
    (tmp_path / "a.json").write_text(json.dumps(HOSTILE[name]))
    done = run_warm("data", "a.json", cwd=tmp_path)
    assert (done.code, done.stdout) == (2, b"")
    assert len(done.stderr.splitlines()) == 1


def test_odd_words_do_not_control_the_terminal(tmp_path: Path) -> None:
    save(tmp_path / "1.png", drawing(1))
    categories = [{"id": WING, "name": "wing\x1b[31m\ttip"}]
    annotations = [annotation(10**300, 1, WING, [square(1, 1), []])]  # type: ignore[list-item]
    save_annotations(tmp_path / "a.json", [image(1, "1.png")], annotations, categories)
    done = run_warm("data", "a.json", cwd=tmp_path)
    assert done.code == 0 and b"\x1b" not in done.stdout and "\x1b" not in done.stderr
    assert tables(done.lines)[1][1][1] == "wing\\x1b[31m tip"


def test_help(tmp_path: Path) -> None:
    done = run("data", "--help", cwd=tmp_path)
    assert done.code == 0 and "critters-parts" in done.stdout.decode()
