from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data.sets_on_disk import drawing, save

from slip.data.tables import open_table
from slip.errors import ImageError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(4):
        save(tmp_path / "pictures" / f"{index}.png", drawing(index))
    return tmp_path


def table(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def jsonl(folder: Path, *rows: object) -> Path:
    return table(folder, "".join(json.dumps(row) + "\n" for row in rows), "table.jsonl")


def told(path: Path, caption: str = "{}") -> list[tuple[str, str, str]]:
    return [(picture.name, picture.label, picture.caption) for picture in open_table(path, caption).pictures]


def test_labels_fill_the_template(folder: Path) -> None:
    path = table(folder, "image,label\npictures/0.png,ant\npictures/1.png,bee\n")
    assert told(path, "a {}") == [("pictures/0.png", "ant", "a ant"), ("pictures/1.png", "bee", "a bee")]
    found = open_table(path)
    assert found.name == "table.csv" and found.classes == ("ant", "bee")
    np.testing.assert_array_equal(found.load(found.pictures[1])[0], drawing(1))


def test_a_caption_alone_is_its_own_class(folder: Path) -> None:
    path = table(
        folder, 'caption,image\n"a small, red ant",pictures/0.png\n"the ""bee""",./pictures//1.png\n'
    )
    assert told(path, "a {}") == [
        ("pictures/0.png", "a small, red ant", "a small, red ant"),
        ("pictures/1.png", 'the "bee"', 'the "bee"'),
    ]


def test_label_and_caption_and_rows_with_one_of_them(folder: Path) -> None:
    path = table(
        folder,
        "image,label,caption,width\n"
        "pictures/0.png,ant,a red ant,5\npictures/1.png,ant,,\npictures/2.png,,bee,\n",
    )
    assert told(path, "my {}") == [
        ("pictures/0.png", "ant", "a red ant"),
        ("pictures/1.png", "ant", "my ant"),
        ("pictures/2.png", "bee", "bee"),
    ]


def test_absolute_paths_below_the_folder_are_made_relative(folder: Path, tmp_path_factory: object) -> None:
    outside = save(Path(f"{folder}-outside") / "x.png", drawing(9))
    path = table(folder, f"image,label\n{folder / 'pictures' / '0.png'},ant\n{outside},bee\n")
    assert [name for name, _, _ in told(path)] == [outside.as_posix(), "pictures/0.png"]
    found = open_table(path)
    np.testing.assert_array_equal(found.load(found.pictures[0])[0], drawing(9))


def test_what_spreadsheets_write(folder: Path) -> None:
    path = table(
        folder, b'\xef\xbb\xbfimage, label\r\n pictures/0.png , ant \r\n\r\n"pictures/1.png",b\xc3\xa9e\r\n'
    )
    assert told(path) == [("pictures/0.png", "ant", "ant"), ("pictures/1.png", "b\u00e9e", "b\u00e9e")]


def test_json_lines(folder: Path) -> None:
    path = jsonl(
        folder,
        {"image": "pictures/0.png", "label": 7, "caption": None, "source": ["web"]},
        {"image": "pictures/1.png", "caption": "a\nbee"},
    )
    assert told(path, "no {}") == [("pictures/0.png", "7", "no 7"), ("pictures/1.png", "a\nbee", "a\nbee")]


def test_files_that_are_missing_are_listed(folder: Path) -> None:
    (folder / "text.png").write_text("text")
    path = table(
        folder,
        "image,label\npictures/0.png,ant\npictures/1.png,bee\ngone.png,bee\ntext.png,ant\npictures,ant\n",
    )
    assert open_table(path).unreadable == (
        ("gone.png", "does not exist; check the path"),
        ("pictures", "is not a plain file"),
        ("text.png", "is not a picture that can be read; save it as JPEG or PNG"),
    )
    path = jsonl(
        folder,
        *({"image": f"pictures/{i}.png", "label": str(i)} for i in range(2)),
        {
            "image": "a\0b",
            "label": "1",
        },
    )
    ((name, reason),) = open_table(path).unreadable
    assert name == "a\0b" and "\n" not in reason


def test_own_groups_replace_looks_but_not_equal_pixels(folder: Path) -> None:
    save(folder / "copy of 0.png", drawing(0))
    half = drawing(1)
    half[0, 0] ^= 1
    save(folder / "nearly 1.png", half)
    rows = ["copy of 0.png,bee", "nearly 1.png,bee", *(f"pictures/{index}.png,ant" for index in range(4))]
    plain = table(folder, "\n".join(["image,label", *rows]))
    own = table(
        folder,
        "\n".join(
            ["image,label,group", *(f"{row},{word}" for row, word in zip(rows, "abcdd ", strict=True))]
        ),
        "own.csv",
    )
    by_looks = {picture.name: picture.group for picture in open_table(plain).pictures}
    by_word = {picture.name: picture.group for picture in open_table(own).pictures}
    assert by_looks["nearly 1.png"] == by_looks["pictures/1.png"] and len(set(by_looks.values())) == 4
    assert by_word["nearly 1.png"] != by_word["pictures/1.png"] == by_word["pictures/2.png"]
    assert by_word["copy of 0.png"] == by_word["pictures/0.png"] and len(set(by_word.values())) == 4


def test_groups_of_words_and_numbers(folder: Path) -> None:
    rows = [{"image": f"pictures/{i}.png", "label": "ab"[i % 2], "group": i // 2} for i in range(3)]
    groups = [picture.group for picture in open_table(jsonl(folder, *rows)).pictures]
    assert groups == [0, 0, 1]


HEAD = "image,label\npictures/0.png,ant\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; give the columns image, label or caption"),
        (" \n\n", "is empty"),
        ("\ufeff", "is empty"),
        ("image,label\n", "has a header and no rows; add a row for each picture"),
        ("image;label\na;b\n", "the first line of .* is 'image;label'; give the columns image"),
        ("image\na.png\n", "the first line of .* is 'image'; give the columns"),
        ("label,caption\na,b\n", "the first line of .* is 'label,caption'"),
        ("image,label,label\na,b,c\n", "has the column 'label' twice; rename one"),
        (HEAD + "pictures/1.png\n", "line 3 of .*: has 1 values for 2 columns"),
        (HEAD + "\npictures/1.png,bee,x\n", "line 4 of .*: has 3 values for 2 columns"),
        (HEAD + ",bee\n", "line 3 of .*: has no image"),
        (HEAD + "pictures/1.png, \n", "line 3 of .*: has neither label nor caption"),
        (HEAD + 'pictures/1.png,"bee\n', "line 3 of .*: is not CSV: .*; check its quotes"),
        (HEAD + 'pictures/1.png,"b"ee\n', "line 3 of .*: is not CSV"),
        (HEAD + "pictures/0.png,bee\n", "line 3 of .*: 'pictures/0.png' is named in line 2 already"),
        (HEAD + "./pictures/0.png,bee\n", "line 3 of .*: 'pictures/0.png' is named in line 2 already"),
        (HEAD, "has one class, 'ant'; a data set needs two"),
        (HEAD + "pictures/1.png,ANT\n", "has the classes 'ANT' and 'ant'"),
        (HEAD + "gone.png,bee\n", "has one class, 'ant'"),
        (b"image,label\nb\xe9e.png,b\n", "is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_tables_that_are_none(folder: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        open_table(table(folder, text))
    assert "\n" not in str(caught.value) and "table.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "line 2 of .*: is not JSON; write an object a line"),
        ("[" * 100_000, "is not JSON"),
        ('["a.png", "ant"]', "is not a JSON object"),
        ('{"label": "ant"}', "has no image"),
        ('{"image": "a.png"}', "has neither label nor caption"),
        ('{"image": "a.png", "label": ["ant"]}', "the label is no text; write it in quotes"),
        ('{"image": true, "label": "ant"}', "the image is no text"),
        ('{"image": "a.png", "label": 1.5}', "the label is no text"),
        ('{"image": "a.png", "label": "\\ud800"}', "the label holds half a character"),
    ],
)
def test_lines_that_are_no_row(folder: Path, row: str, says: str) -> None:
    path = table(folder, '{"image": "pictures/0.png", "label": "ant"}\n' + row + "\n", "table.jsonl")
    with pytest.raises(UsageError, match=f"line 2 of .*{says.removeprefix('line 2 of .*: ')}") as caught:
        open_table(path)
    assert "\n" not in str(caught.value)


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot read '.*gone.csv': No such file"):
        open_table(tmp_path / "gone.csv")


def test_captions_need_their_place(folder: Path) -> None:
    with pytest.raises(UsageError, match="put {} into it once"):
        open_table(table(folder, HEAD), "all the same")
