from __future__ import annotations

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from slip.errors import UsageError
from slip.masks import (
    Enlarged,
    as_searched,
    decode_rle,
    encode_rle,
    intersection,
    mask_box,
    mask_iou,
    resize_segment,
    segment_iou,
    segment_of,
)
from slip.types import Box, Segment

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=14)
MASKS = hnp.arrays(bool, SHAPES)
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))


@st.composite
def blobs(draw: st.DrawFn) -> np.ndarray:
    """A rectangle with noise in it, anywhere in a larger picture."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    y1, x1 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    y2, x2 = draw(st.integers(y1 + 1, height)), draw(st.integers(x1 + 1, width))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = rng.random((y2 - y1, x2 - x1)) < draw(st.sampled_from([0.3, 0.9, 1.0]))
    return mask


@given(MASKS)
def test_the_box_is_tight(mask: np.ndarray) -> None:
    box = mask_box(mask)
    ys, xs = np.nonzero(mask)
    if box is None:
        assert ys.size == 0
    else:
        assert box == Box(xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


@given(PAIRS)
def test_segments_overlap_as_their_full_masks_do(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    first, second = segment_of(a), segment_of(b)
    if first is None or second is None:
        return
    assert intersection(first, second) == (a & b).sum()
    assert segment_iou(first, second) == mask_iou(a, b) == (a & b).sum() / (a | b).sum()


def test_the_rest_of_the_picture_is_never_built() -> None:
    a = Segment(np.ones((4, 4), bool), Box(0, 0, 4, 4), (10**6, 10**6))
    b = Segment(np.ones((4, 4), bool), Box(2, 2, 6, 6), (10**6, 10**6))
    far = replace(a, box=Box(900, 900, 904, 904))
    assert intersection(a, b) == 4 and segment_iou(a, b) == 4 / 28
    assert intersection(a, far) == 0 and segment_iou(a, far) == 0


def test_empty_masks_overlap_nothing() -> None:
    none, full = np.zeros((3, 4), bool), np.ones((3, 4), bool)
    assert mask_iou(none, none) == mask_iou(none, full) == 0
    assert segment_of(none) is None and mask_box(none) is None


def test_masks_of_different_sizes_are_refused() -> None:
    a, b = np.ones((3, 4), bool), np.ones((1, 4), bool)
    with pytest.raises(UsageError, match=r"\(3, 4\) and \(1, 4\)"):
        mask_iou(a, b)
    first, second = segment_of(a), segment_of(b)
    assert first and second
    with pytest.raises(UsageError, match="cannot be compared"):
        intersection(first, second)


@given(MASKS)
def test_a_segment_gives_its_mask_back(mask: np.ndarray) -> None:
    segment = segment_of(mask, 0.9, 0.8)
    if segment is None:
        assert not mask.any()
        return
    np.testing.assert_array_equal(segment.mask, mask)
    assert segment.area == mask.sum() and (segment.predicted_iou, segment.stability) == (0.9, 0.8)
    mask[:] = False
    assert segment.patch.any()


@given(MASKS)
def test_rle_round_trip(mask: np.ndarray) -> None:
    rle = encode_rle(mask)
    assert isinstance(rle["counts"], str) and rle["size"] == list(mask.shape)
    assert coco.area({**rle, "counts": rle["counts"].encode()}) == mask.sum()
    np.testing.assert_array_equal(decode_rle(rle), mask)
    np.testing.assert_array_equal(decode_rle({**rle, "counts": rle["counts"].encode()}), mask)
    np.testing.assert_array_equal(decode_rle({"size": rle["size"], "counts": plain_runs(mask)}), mask)


def plain_runs(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, starting with background."""
    runs, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            runs.append(0)
            value = bool(pixel)
        runs[-1] += 1
    return runs


@pytest.mark.parametrize(
    "counts", ["", "0", "~~~~", "5", b"\xff", [3, 3], [3, 30], [-5, 25], [5, "x"], None, 7]
)
def test_a_damaged_rle_is_refused(counts: object) -> None:
    with pytest.raises(UsageError, match="run-length code"):
        decode_rle({"size": [4, 5], "counts": counts})


@pytest.mark.parametrize(
    "rle", [{}, {"size": [4, 5]}, {"size": 4, "counts": [20]}, {"size": ["a", 5], "counts": [20]}]
)
def test_an_incomplete_rle_is_refused(rle: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="run-length code"):
        decode_rle(rle)


def full_resize(mask: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The plain reference: the whole mask resampled; grey levels 0 to 255."""
    grey = PIL.Image.fromarray(mask.astype(np.uint8) * 255)
    resized = grey.resize(image_size[::-1], PIL.Image.Resampling.BILINEAR)
    return np.asarray(resized).astype(int)


@given(blobs(), st.integers(1, 150), st.integers(1, 150))
@settings(max_examples=300)
def test_resizing_equals_resizing_the_full_mask(mask: np.ndarray, height: int, width: int) -> None:
    """Pixels may differ only where the reference's grey is within 2 of 255 of the threshold."""
    segment = segment_of(mask)
    if segment is None:
        return
    grey = full_resize(mask, (height, width))
    resized = resize_segment(segment, (height, width))
    made = np.zeros((height, width), bool) if resized is None else resized.mask
    if mask.shape == (height, width):
        np.testing.assert_array_equal(made, mask)
        return
    clear = np.abs(grey - 127.5) > 2
    np.testing.assert_array_equal(made[clear], (grey > 127)[clear])
    if resized is not None:
        assert mask_box(resized.mask) == resized.box


def test_resizing_keeps_what_is_known_of_the_segment() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:6, 3:9] = True
    segment = segment_of(mask, 0.9, 0.8)
    assert segment and segment.area == 24
    large = resize_segment(segment.scored(0.3), (20, 40))
    assert large and (large.predicted_iou, large.stability, large.score) == (0.9, 0.8, 0.3)
    assert large.box == Box(12, 4, 36, 12) and large.image_size == (20, 40) and large.area > 24
    assert resize_segment(segment, (10, 10)) is segment


def test_enlarged_edges_are_smooth() -> None:
    y, x = np.mgrid[:64, :64]
    disc = segment_of((x - 31.5) ** 2 + (y - 31.5) ** 2 < 20**2)
    assert disc
    large = resize_segment(disc, (640, 640))
    assert large
    y, x = np.mgrid[:640, :640]
    ideal = (x - 319.5) ** 2 + (y - 319.5) ** 2 < 200**2
    blocky = disc.mask.repeat(10, 0).repeat(10, 1)
    assert mask_iou(large.mask, ideal) > mask_iou(blocky, ideal)


def test_nothing_left_is_none() -> None:
    mask = np.zeros((100, 100), bool)
    mask[50, 50] = True
    dot = segment_of(mask)
    assert dot and resize_segment(dot, (10, 10)) is None


def test_the_cost_is_that_of_the_box() -> None:
    """The picture would not fit any memory."""
    segment = Segment(np.ones((8, 8), bool), Box(5000, 5000, 5008, 5008), (10**7, 10**7))
    large = resize_segment(segment, (2 * 10**7, 2 * 10**7))
    assert large and large.box == Box(10_000, 10_000, 10_016, 10_016)


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_a_size_without_pixels_is_refused(size: tuple[int, int]) -> None:
    segment = segment_of(np.ones((2, 2), bool))
    assert segment
    with pytest.raises(UsageError, match="1 pixel or more"):
        resize_segment(segment, size)


@st.composite
def enlargements(draw):
    """A segment, and a size at which no side is shorter."""
    mask = draw(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any))
    height, width = (side + draw(st.integers(0, 40)) for side in mask.shape)
    return segment_of(mask), (height, width)


@given(enlargements())
def test_enlarged_segments_are_resized_and_never_empty(drawn):
    segment, size = drawn
    (large,) = Enlarged([segment], size)
    resized = resize_segment(segment, size)
    assert large.image_size == size
    assert large.area > 0
    assert large.box == mask_box(large.mask)
    if resized is not None:
        assert (large.mask == resized.mask).all()
    else:
        nearest = PIL.Image.fromarray(segment.mask).resize(size[::-1], PIL.Image.Resampling.NEAREST)
        assert mask_iou(large.mask, np.asarray(nearest)) >= 0.5


def test_a_pixel_too_small_to_be_resampled_is_repeated():
    mask = np.zeros((3, 3), bool)
    mask[1, 1] = True
    assert resize_segment(segment_of(mask), (4, 4)) is None
    (large,) = Enlarged([segment_of(mask)], (4, 4))
    assert large.area >= 1


def test_enlarged_segments_are_a_sequence():
    small = [segment_of(np.eye(side, dtype=bool)).scored(side / 10) for side in (4, 4, 4)]
    large = Enlarged(small, (8, 8))
    assert len(large) == len(list(large)) == 3
    assert [segment.score for segment in large[1:]] == [0.4, 0.4]
    assert large[-1].mask.shape == (8, 8)
    assert as_searched(large) is small
    assert as_searched(small) is small
    with pytest.raises(IndexError):
        large[3]
