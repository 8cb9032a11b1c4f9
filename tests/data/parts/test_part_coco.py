"""Files of annotations: what is read, what is a fault, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data.parts.sets_of_parts import CATEGORIES, HEAD, WING, annotation, image, save_annotations, square
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slip.data.parts.coco import Listed, read_coco
from slip.data.parts.records import Fault, Part
from slip.errors import ImageError, UsageError

BIRD_WING, BIRD_HEAD = Part("bird wing", "wing", "bird"), Part("bird head", "head", "bird")
SQUARE = [square(1, 2)]


def read(folder: Path, images: list[Any], annotations: list[Any], **more: Any) -> tuple[list[Listed], Any]:
    listed, faults = read_coco(save_annotations(folder / "a.json", images, annotations, **more), "a.json")
    assert all(isinstance(fault, Fault) for fault in faults)
    return listed, [(fault.kind, fault.where) for fault in faults]


def test_pictures_with_their_shapes(tmp_path: Path) -> None:
    images = [image(7, "x/1.png", (5, 6)), image(8, "2.png", path="y/2.png")]
    annotations = [annotation(1, 7, WING, SQUARE), annotation(2, 7, HEAD, {"counts": []})]
    [one, two], faults = read(tmp_path, images, annotations)
    assert faults == []
    assert (one.names, one.size, one.annotated) == (("x/1.png",), (5, 6), True)
    assert [(shape.part, shape.segmentation) for shape in one.shapes] == [
        (BIRD_WING, SQUARE),
        (BIRD_HEAD, {"counts": []}),
    ]
    assert one.shapes[1].where == "a.json: annotation 2"
    assert (two.names, two.shapes, two.annotated) == (("y/2.png", "2.png"), (), False)


def test_names_come_from_the_file_and_ids_may_be_text(tmp_path: Path) -> None:
    categories = [{"id": "w", "name": "Left_Wing"}, {"id": 0, "name": "_background_", "supercategory": None}]
    images = [image("p", "1.png")]  # type: ignore[arg-type]
    annotations = [annotation(1, "p", "w", SQUARE), annotation(2, "p", 0, SQUARE)]
    [one], faults = read(tmp_path, images, annotations, categories=categories)
    assert faults == []
    assert [shape.part.category for shape in one.shapes] == ["left wing"]


def test_a_picture_of_background_alone_is_annotated(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "background", "supercategory": ""}]
    [one], _ = read(tmp_path, [image(1, "1.png")], [annotation(1, 1, 1, SQUARE)], categories=categories)
    assert one.annotated and one.shapes == ()


def test_where_parts_are_marked_whole_things_are_none(tmp_path: Path) -> None:
    categories = [
        {"id": 1, "name": "bottle", "supercategory": "OBJECT"},
        {"id": 2, "name": "bottle:cap", "supercategory": "PART"},
    ]
    annotations = [annotation(1, 1, 1, SQUARE), annotation(2, 1, 2, SQUARE)]
    [one], _ = read(tmp_path, [image(1, "1.png")], annotations, categories=categories)
    assert [shape.part.category for shape in one.shapes] == ["bottle cap"]


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (annotation(2, 9, WING, SQUARE), "unknown picture"),
        (annotation(2, None, WING, SQUARE), "unknown picture"),
        (annotation(2, 1.0, WING, SQUARE), "unknown picture"),
        (annotation(2, True, WING, SQUARE), "unknown picture"),
        (annotation(2, [1], WING, SQUARE), "unknown picture"),
        (annotation(2, 1, 99, SQUARE), "unknown category"),
        (annotation(2, 1, {}, SQUARE), "unknown category"),
        (annotation(1, 1, HEAD, SQUARE), "duplicate annotation id"),
        ({}, "unknown picture"),
    ],
)
def test_annotations_that_are_left_out(tmp_path: Path, record: Any, kind: str) -> None:
    annotations = [annotation(1, 1, WING, SQUARE), record]
    [one], faults = read(tmp_path, [image(1, "1.png")], annotations)
    assert faults == [(kind, f"a.json: annotation {record.get('id', 1)}")]
    assert [shape.part for shape in one.shapes] == [BIRD_WING]


def test_annotations_need_no_id(tmp_path: Path) -> None:
    bare = {"image_id": 1, "category_id": WING, "segmentation": SQUARE}
    [one], faults = read(tmp_path, [image(1, "1.png")], [bare, bare, {**bare, "id": None}])
    assert len(one.shapes) == 3 and faults == []


def test_a_missing_segmentation_is_left_to_the_rasteriser(tmp_path: Path) -> None:
    [one], faults = read(tmp_path, [image(1, "1.png")], [{"id": 1, "image_id": 1, "category_id": WING}])
    assert one.shapes[0].segmentation is None and faults == []


def test_nobody_knows_whose_annotations_those_of_a_doubled_id_are(tmp_path: Path) -> None:
    images = [image(1, "1.png"), image(1, "2.png"), image(2, "3.png")]
    annotations = [annotation(1, 1, WING, SQUARE), annotation(2, 2, WING, SQUARE)]
    listed, faults = read(tmp_path, images, annotations)
    assert [one.names for one in listed] == [("3.png",)]
    assert faults == [("duplicate picture id", "a.json: image 1")]


def test_a_record_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    images = [image(1, "1.png"), image(1, "1.png")]
    listed, faults = read(tmp_path, images, [annotation(1, 1, WING, SQUARE)])
    assert [one.names for one in listed] == [("1.png",)]
    assert faults == [("duplicate picture id", "a.json: image 1")]


@pytest.mark.parametrize(
    "name", ["/etc/1.png", "../1.png", "a/../../1.png", "a/..", ".", "a\0b.png", "\ud800.png", " "]
)
def test_pictures_outside_the_set_are_refused(tmp_path: Path, name: str) -> None:
    listed, faults = read(tmp_path, [image(1, name), image(2, "2.png")], [annotation(1, 1, WING, SQUARE)])
    assert [one.names for one in listed] == [("2.png",)]
    assert faults == [("picture outside the set", "a.json: image 1")]


def test_an_absolute_path_beside_a_usable_name_is_passed_over(tmp_path: Path) -> None:
    [one], faults = read(tmp_path, [image(1, "./a//1.png", path="/datasets/1.png")], [])
    assert one.names == ("a/1.png",) and faults == []


def test_long_ids_are_told_shortly(tmp_path: Path) -> None:
    _, faults = read(tmp_path, [], [annotation(10**300, 1, WING, SQUARE)])
    assert faults == [("unknown picture", "a.json: annotation 1" + "0" * 36 + "...")]


BAD: dict[str, bytes] = {
    "is not JSON": b"{",
    "is not JSON;": b"",
    "is not JSON; give": b"\xff\xfe\x00",
    "not JSON; give a file": b"[" * 100_000,
    "not JSON; give a file of": b'{"images": ' + b"1" * 5000 + b"}",
    "there is no object": b"[]",
    "there is no object in": b"null",
    "there is no list 'images'": b"{}",
    "there is no list 'annotations'": b'{"images": []}',
    "there is no list 'categories'": b'{"images": [], "annotations": [], "categories": {}}',
    "there is no list 'images' in": b'{"images": null, "annotations": [], "categories": []}',
}


@pytest.mark.parametrize("says", BAD)
def test_what_is_no_file_of_annotations(tmp_path: Path, says: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(BAD[says])
    with pytest.raises(UsageError, match=says) as caught:
        read_coco(path, "a.json")
    assert "\n" not in str(caught.value) and repr(str(path)) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda it: it["images"].append([]), "image 1 is no object"),
        (lambda it: it["images"].append(None), "image 1 is no object"),
        (lambda it: it["images"][0].pop("id"), "image 0 has no id"),
        (lambda it: it["images"][0].update(id=[1]), "image 0 has no id"),
        (lambda it: it["images"][0].update(id=1.5), "image 0 has no id"),
        (lambda it: it["images"][0].pop("file_name"), "image 0 has no file_name"),
        (lambda it: it["images"][0].update(file_name=3), "image 0 has no file_name"),
        (lambda it: it["images"][0].update(file_name=""), "image 0 has no file_name"),
        *(
            (lambda it, value=value: it["images"][0].update(width=value), "image 0 has no height and width")
            for value in (None, 0, -3, 1.5, "64", [64], True, float("nan"), float("inf"))
        ),
        (lambda it: it["images"][0].pop("height"), "image 0 has no height and width"),
        (lambda it: it["annotations"].append(7), "annotation 1 is no object"),
        (lambda it: it["categories"].append("wing"), "category 2 is no object"),
        (lambda it: it["categories"][0].pop("id"), "category 0 has no id"),
        (lambda it: it["categories"][0].update(id={}), "category 0 has no id"),
        (lambda it: it["categories"][0].pop("name"), "category 0 has no name"),
        (lambda it: it["categories"][0].update(name=" _"), "category 0 has no name"),
        (lambda it: it["categories"][0].update(name=["wing"]), "category 0 has no name"),
        (lambda it: it["categories"][0].update(name="\ud800"), "category 0 has no name"),
        (lambda it: it["categories"][1].update(supercategory=1), "supercategory of category 1 is no text"),
        (lambda it: it["categories"][1].update(supercategory="\ud800"), "of category 1 is no text"),
        (lambda it: it["categories"][1].update(id=WING), "two categories have the id 1"),
    ],
)
def test_values_of_another_type_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    content: dict[str, Any] = {
        "images": [image(1, "1.png")],
        "annotations": [annotation(1, 1, WING, SQUARE)],
        "categories": [dict(category) for category in CATEGORIES],
    }
    change(content)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=says) as caught:
        read_coco(path, "a.json")
    assert "\n" not in str(caught.value)


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path) -> None:
    [one], _ = read(tmp_path, [image(1, "1.png", (48.0, 64.0))], [])  # type: ignore[arg-type]
    assert one.size == (48, 64)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot read .*gone.json"):
        read_coco(tmp_path / "gone.json", "gone.json")


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just("1.png")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "image_id", "category_id", "file_name", "name", "segmentation", "width"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries({"images": values, "annotations": st.lists(values), "categories": st.lists(values)})
)
def test_hostile_json_is_read_or_refused_in_a_line(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    try:
        read_coco(path, "a.json")
    except UsageError as error:
        assert "\n" not in str(error)
