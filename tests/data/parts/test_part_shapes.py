"""Masks from polygons and run-length codes, against plain ways to make them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from data.parts.sets_of_parts import square
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from slip.data.parts.shapes import area, decode, rasterise, runs_of, union
from slip.masks import encode_rle
from slip.types import Mask

SIZE = (12, 17)
HUGE = 10**400


def naive_square(x: int, y: int, side: int) -> Mask:
    """The pixels whose centres lie in the square."""
    mask = np.zeros(SIZE, bool)
    mask[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)] = True
    return mask


def naive_runs(mask: Mask) -> list[int]:
    """COCO's uncompressed counts, one pixel after the other down the columns, nothing first."""
    runs, last = [0], False
    for pixel in mask.T.ravel():
        if bool(pixel) != last:
            runs.append(0)
            last = not last
        runs[-1] += 1
    return runs


corners = st.tuples(st.integers(-4, 18), st.integers(-4, 13), st.integers(1, 12))
bits = st.lists(st.booleans(), min_size=SIZE[0] * SIZE[1], max_size=SIZE[0] * SIZE[1])


@given(st.lists(corners, min_size=1, max_size=4))
def test_polygons_are_their_union(squares: list[tuple[int, int, int]]) -> None:
    expected = np.logical_or.reduce([naive_square(*corner) for corner in squares])
    counts, faults = rasterise([square(*corner) for corner in squares], SIZE)
    if expected.any():
        assert counts is not None and faults == []
        assert np.array_equal(decode(counts, SIZE), expected)
        assert area(counts, SIZE) == expected.sum()
    else:
        assert (counts, faults) == (None, ["empty mask"])


@settings(max_examples=25)
@given(bits, st.booleans())
def test_codes_are_what_was_encoded(pixels: list[bool], compressed: bool) -> None:
    mask = np.array(pixels).reshape(SIZE)
    code = encode_rle(mask) if compressed else {"size": list(SIZE), "counts": naive_runs(mask)}
    counts, faults = rasterise(code, SIZE)
    if mask.any():
        assert counts is not None and faults == []
        assert np.array_equal(decode(counts, SIZE), mask)
    else:
        assert (counts, faults) == (None, ["empty mask"])


@settings(max_examples=25)
@given(bits, bits, corners)
def test_the_union_of_every_form(one: list[bool], two: list[bool], corner: tuple[int, int, int]) -> None:
    masks = [np.array(pixels).reshape(SIZE) for pixels in (one, two)] + [naive_square(*corner)]
    forms: list[Any] = [
        encode_rle(masks[0]),
        {"size": SIZE, "counts": naive_runs(masks[1])},
        [square(*corner)],
    ]
    forms[1]["size"] = list(SIZE)
    codes = [counts for form in forms if (counts := rasterise(form, SIZE)[0]) is not None]
    merged = union(codes, SIZE)
    expected = np.logical_or.reduce(masks)
    assert (merged is not None) == expected.any()
    assert merged is None or np.array_equal(decode(merged, SIZE), expected)


def sides_of(points: np.ndarray, size: tuple[int, int]) -> tuple[Mask, np.ndarray]:
    """Whether each pixel's centre lies in a triangle, and how far it is from its outline."""
    centres = np.stack(np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5), axis=-1)
    crossed, distances = [], []
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        along, there = end - start, centres - start
        crossed.append(along[0] * there[..., 1] - along[1] * there[..., 0])
        share = np.clip((there @ along) / max(along @ along, 1e-12), 0, 1)
        distances.append(np.linalg.norm(there - share[..., None] * along, axis=-1))
    inside = np.logical_or((np.array(crossed) > 0).all(axis=0), (np.array(crossed) < 0).all(axis=0))
    return inside, np.min(distances, axis=0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(-5, 25), st.floats(-5, 20)), min_size=3, max_size=3))
def test_polygons_hold_what_lies_in_them_up_to_a_pixel_of_their_edges(
    points: list[tuple[float, float]],
) -> None:
    counts, _ = rasterise([[value for point in points for value in point]], SIZE)
    found = np.zeros(SIZE, bool) if counts is None else decode(counts, SIZE)
    inside, distance = sides_of(np.array(points), SIZE)
    assert np.array_equal(found[distance > 1], inside[distance > 1])


@pytest.mark.parametrize(
    ("polygon", "kind"),
    [
        ([], "short polygon"),
        ([1, 1, 5, 5], "short polygon"),
        ([1, 1, 5, 5, 9], "short polygon"),
        ([1, 1, 5, 5, 9, 1, 4], "odd polygon"),
        ([1, 1, 5, 5, 9, float("nan")], "polygon not finite"),
        ([1, 1, 5, 5, 9, float("inf")], "polygon not finite"),
        ([1, 1, 5, 5, 9, HUGE], "polygon not finite"),
        ([1, 1, 5, 5, 9, 1e9], "endless polygon"),
        ([1e308, 1, -1e308, 2, 3, 1e308], "endless polygon"),
        ([-2e6, 1, -2e6, 2, -2e6, 3], "endless polygon"),
        ([1, 1, 5, 5, 9, None], "polygon without numbers"),
        ([1, 1, 5, 5, 9, "1"], "polygon without numbers"),
        ([True] * 6, "polygon without numbers"),
        ([[1, 1], [5, 5], [9, 1]], "polygon without numbers"),
        ({"x": 1}, "polygon without numbers"),
        ("111111", "polygon without numbers"),
        (None, "polygon without numbers"),
    ],
)
def test_a_broken_polygon_is_left_out_and_the_others_are_kept(polygon: Any, kind: str) -> None:
    counts, faults = rasterise([square(2, 3, 4), polygon], SIZE)
    assert faults == [kind]
    assert counts is not None and np.array_equal(decode(counts, SIZE), naive_square(2, 3, 4))
    assert rasterise([polygon], SIZE) == (None, [kind])


@pytest.mark.parametrize("segmentation", [None, [], "", "counts", 0, 3.5, True])
def test_what_is_no_segmentation(segmentation: Any) -> None:
    assert rasterise(segmentation, SIZE) == (None, ["no segmentation"])


@pytest.mark.parametrize(
    "counts",
    [
        *([], [0], [203], [0, 205], [-1, 205], [1.0, 203.0], [True, 203], ["204"], [[204]], [HUGE, 1]),
        *([2**32, 204], [2**31, 2**31, 204], None, "", "x" * 20, "\ud800", "1" * 5000, 7, {}),
        *("o", "`6o", "`6P", "o" * 40, "\0`6", "`6 ", "0\0"),
    ],
)
def test_codes_that_are_none(counts: Any) -> None:
    assert rasterise({"size": list(SIZE), "counts": counts}, SIZE) == (None, ["broken RLE"])


@pytest.mark.parametrize("size", [None, [17, 12], [12], [12, 17, 1], ["12", "17"], [2**40, 2**40], "12"])
def test_codes_of_another_size(size: Any) -> None:
    assert rasterise({"size": size, "counts": [0, 204]}, SIZE) == (None, ["broken RLE"])
    assert rasterise({"counts": [0, 204]}, SIZE) == (None, ["broken RLE"])


@settings(max_examples=25)
@given(bits)
def test_compressed_runs_are_read_as_they_were_written(pixels: list[bool]) -> None:
    mask = np.array(pixels).reshape(SIZE)
    assert runs_of(encode_rle(mask)["counts"]) == naive_runs(mask)


@pytest.mark.parametrize("size", [(1, 40), (300, 20), (4000, 3000), (70_000, 1000)])
def test_long_runs_are_read_as_they_were_written(size: tuple[int, int]) -> None:
    height, width = size
    mask = np.zeros(size, bool)
    mask[height // 2, width // 2] = mask[-1, -1] = True
    first = width // 2 * height + height // 2
    assert runs_of(encode_rle(mask)["counts"]) == [first, 1, height * width - first - 2, 1]


@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=30))
def test_any_text_is_a_code_or_a_fault(counts: str) -> None:
    found, faults = rasterise({"size": list(SIZE), "counts": counts}, SIZE)
    assert (found is None) == bool(faults)
    assert found is None or decode(found, SIZE).any()


def test_masks_are_own_arrays() -> None:
    counts, _ = rasterise([square(2, 3, 4)], SIZE)
    assert counts is not None
    one, again = decode(counts, SIZE), decode(counts, SIZE)
    one[:] = True
    assert np.array_equal(again, naive_square(2, 3, 4)) and again.flags.c_contiguous
    assert coco.area({"size": list(SIZE), "counts": counts}) == 16
