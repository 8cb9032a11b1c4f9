from __future__ import annotations

import tracemalloc
from math import ceil
from typing import get_args

import hypothesis.strategies as st
import numpy as np
import pytest
from fakes import segment_from
from hypothesis import example, given, settings

from slip.errors import UsageError
from slip.options import View
from slip.pipeline.crops import BLUR_SIGMA, CONTEXT, DIM, MARGIN, VIEWS, crop_views, members

ROUNDING = {"black": 2, "letterbox-black": 2, "blur": 4, "blur-dim": 4, "context": 2, "raw": 2}
"""Grey levels by which fixed-point arithmetic may differ from the reference's."""

MARGINS = {"blur": MARGIN, "blur-dim": MARGIN, "context": CONTEXT}


def area_matrix(out, size):
    """Row i averages the input over [i, i + 1) * size / out."""
    edges = np.arange(out + 1) * size / out
    starts, ends = np.arange(size), np.arange(size) + 1
    common = np.minimum(edges[1:, None], ends) - np.maximum(edges[:-1, None], starts)
    return np.clip(common, 0, None) * out / size


def cubic_matrix(out, size, a=-0.75):
    """Keys' cubic at half-pixel centres, the border repeated."""
    matrix = np.zeros((out, size))
    for i in range(out):
        centre = (i + 0.5) * size / out - 0.5
        for j in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            x = abs(centre - j)
            near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
            matrix[i, np.clip(j, 0, size - 1)] += near if x <= 1 else far if x < 2 else 0
    return matrix


def gauss_matrix(size, sigma):
    radius = (round(sigma * 6 + 1) | 1) // 2
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    matrix = np.zeros((size, size))
    for i in range(size):
        np.add.at(matrix[i], np.clip(i + offsets, 0, size - 1), weights / weights.sum())
    return matrix


def apply(rows, columns, pixels):
    mixed = np.einsum("yh,hwc,xw->yxc", rows, pixels.astype(float), columns)
    return np.clip(np.rint(mixed), 0, 255)


def resize(pixels, width, height):
    h, w = pixels.shape[:2]
    pixels = apply(area_matrix(min(height, h), h), area_matrix(min(width, w), w), pixels)
    h, w = pixels.shape[:2]
    return apply(cubic_matrix(height, h), cubic_matrix(width, w), pixels)


def fit(pixels, size):
    h, w = pixels.shape[:2]
    return resize(pixels, max(1, round(w * size / max(h, w))), max(1, round(h * size / max(h, w))))


def pad(pixels, size):
    h, w = pixels.shape[:2]
    top, left = (size - h) // 2, (size - w) // 2
    return np.pad(pixels, ((top, size - h - top), (left, size - w - left), (0, 0)))


def reference(image, mask, view, size):
    """A view of a whole mask, in float arithmetic."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y1, y2, x1, x2 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    black = np.where(mask[..., None], image, 0)[y1:y2, x1:x2]
    if view == "black":
        return resize(black, size, size)
    if view == "letterbox-black":
        return pad(fit(black, size), size)
    side = max(y2 - y1, x2 - x1)
    margin = ceil(MARGINS.get(view, 0) * side)
    window = slice(max(y1 - margin, 0), y2 + margin), slice(max(x1 - margin, 0), x2 + margin)
    sharp, inside = fit(image[window], size), fit(mask[window][..., None] * 255, size) / 255
    if view in ("context", "raw"):
        return pad(sharp, size)
    sigma = BLUR_SIGMA * side * size / max(image[window].shape)
    blurred = apply(gauss_matrix(sharp.shape[0], sigma), gauss_matrix(sharp.shape[1], sigma), sharp)
    outside = DIM * blurred if view == "blur-dim" else blurred
    return pad(np.rint(inside * sharp + (1 - inside) * outside), size)


@st.composite
def scenes(draw):
    """A random picture with one mask, from a pixel to the frame, of any aspect."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x2, y2 = draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = random.random((y2 - y1, x2 - x1)) < 0.8
    mask[y1, x1] = True
    return random.integers(0, 256, (height, width, 3), np.uint8), mask


@pytest.mark.parametrize("view", VIEWS)
@settings(max_examples=60)
@given(scenes(), st.integers(1, 40))
def test_views_equal_the_plain_reference(view, scene, size):
    image, mask = scene
    (crop,) = crop_views(image, [segment_from(mask)], view, size)
    expected = reference(image, mask, view, size)
    assert crop.shape == expected.shape == (size, size, 3)
    assert np.abs(crop - expected).max() <= ROUNDING[view]


def full(height, width, colour):
    return np.full((height, width, 3), colour, np.uint8)


def test_black_squashes_the_tight_box():
    image, mask = full(50, 90, (10, 200, 30)), np.zeros((50, 90), bool)
    mask[20:24, 5:85] = True
    (crop,) = crop_views(image, [segment_from(mask)], "black", 16)
    assert (crop == (10, 200, 30)).all()


def test_letterbox_keeps_the_aspect_and_centres():
    image, mask = full(50, 90, (10, 200, 30)), np.zeros((50, 90), bool)
    mask[10:20, 5:85] = True
    (crop,) = crop_views(image, [segment_from(mask)], "letterbox-black", 16)
    assert (crop[7:9] == (10, 200, 30)).all()
    assert not crop[:7].any() and not crop[9:].any()


@pytest.mark.parametrize("view", VIEWS)
def test_long_segments_keep_both_ends(view):
    image, mask = full(40, 400, (90, 90, 90)), np.zeros((40, 400), bool)
    mask[12:28, 20:380] = True
    image[12:28, 20:50], image[12:28, 350:380] = (255, 0, 0), (0, 0, 255)
    (crop,) = crop_views(image, [segment_from(mask)], view, 64)
    red, blue = crop[..., 0].astype(int) - crop[..., 2], crop[..., 2].astype(int) - crop[..., 0]
    assert red[:, :16].max() > 150 and blue[:, -16:].max() > 150


def test_blur_is_sharp_inside_and_soft_outside():
    image = np.indices((80, 80)).sum(axis=0)[..., None] % 2 * np.full(3, 255)
    mask = np.zeros((80, 80), bool)
    mask[20:60, 20:60] = True
    (crop,) = crop_views(image.astype(np.uint8), [segment_from(mask)], "blur", 48)
    assert (crop[5:43, 5:43] == image[21:59, 21:59]).all()
    assert crop[:3].std() < 12
    assert crop[:3].mean() > 100


def test_dim_is_the_blur_with_a_darker_surrounding():
    random = np.random.default_rng(2)
    image, mask = random.integers(0, 256, (80, 80, 3), np.uint8), np.zeros((80, 80), bool)
    mask[20:60, 20:60] = True
    blur, dim = (crop_views(image, [segment_from(mask)], view, 48)[0] for view in ("blur", "blur-dim"))
    assert (dim[5:43, 5:43] == blur[5:43, 5:43]).all()
    assert dim[:3].mean() == pytest.approx(DIM * blur[:3].mean(), abs=0.6)
    assert blur[:3].mean() > 100


@pytest.mark.parametrize(("view", "side"), [("raw", 20), ("context", 30)])
def test_raw_and_context_hide_nothing(view, side):
    random = np.random.default_rng(3)
    image, mask = random.integers(0, 256, (60, 70, 3), np.uint8), np.zeros((60, 70), bool)
    mask[20:40, 25:45] = np.eye(20)
    (crop,) = crop_views(image, [segment_from(mask)], view, side)
    y, x = 30 - side // 2, 35 - side // 2
    assert (crop == image[y : y + side, x : x + side]).all()


@pytest.mark.parametrize("view", VIEWS)
@given(scenes())
@settings(max_examples=30)
def test_boxes_at_every_edge_lose_nothing(view, scene):
    image, mask = scene
    edges = [np.zeros_like(mask) for _ in range(5)]
    for edge, index in zip(edges, (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1], np.s_[:]), strict=True):
        edge[index] = True
    white = np.full_like(image, 255)
    for crop in crop_views(white, [segment_from(edge) for edge in edges], view, 64):
        assert crop.max() == 255
        rows, columns = np.flatnonzero(crop.any(axis=(1, 2))), np.flatnonzero(crop.any(axis=(0, 2)))
        assert max(np.ptp(rows), np.ptp(columns)) == 63


@pytest.mark.parametrize("view", VIEWS)
def test_a_crop_depends_on_nothing_beyond_its_box_and_margin(view):
    random = np.random.default_rng(0)
    image, mask = random.integers(0, 256, (90, 90, 3), np.uint8), np.zeros((90, 90), bool)
    mask[40:50, 40:50] = True
    other = random.integers(0, 256, (90, 90, 3), np.uint8)
    near = ceil(10 * MARGINS.get(view, 0))
    seen = slice(40 - near, 50 + near)
    other[seen, seen] = image[seen, seen]
    segment = segment_from(mask)
    assert (crop_views(image, [segment], view, 20) == crop_views(other, [segment], view, 20)).all()


@pytest.mark.parametrize("view", VIEWS)
@settings(max_examples=30)
@example(1, 1)
@given(st.integers(1, 30), st.integers(1, 30))
def test_single_pixels_fill_the_view(view, height, width):
    image, mask = full(height, width, (7, 8, 9)), np.zeros((height, width), bool)
    mask[height // 2, width // 2] = True
    (crop,) = crop_views(image, [segment_from(mask)], view, 12)
    if view == "blur-dim":  # dark beside the pixel, which enlarging lets in
        assert np.abs(crop - np.array([7, 8, 9])).max(axis=2).min() <= 1
    else:
        assert (crop[6, 6] == (7, 8, 9)).all()


@pytest.mark.parametrize("view", VIEWS)
def test_no_segments_make_an_empty_batch(view):
    assert crop_views(full(4, 4, 0), [], view, 12).shape == (0, 12, 12, 3)


@pytest.mark.parametrize("view", VIEWS)
def test_a_batch_is_its_crops_and_leaves_the_picture_alone(view):
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (40, 50, 3), np.uint8)
    before = image.copy()
    segments = [segment_from(random.random((40, 50)) < share) for share in (0.002, 0.1, 0.9)]
    batch = crop_views(image, segments, view, 24)
    assert batch.dtype == np.uint8
    for crop, segment in zip(batch, segments, strict=True):
        assert (crop == crop_views(image, [segment], view, 24)[0]).all()
    assert (image == before).all()


def test_the_table_agrees_with_the_options():
    assert (*VIEWS, "ensemble") == get_args(View)


def test_members_are_views_of_their_own():
    assert all(members(view) == (view,) for view in VIEWS)
    parts = members("ensemble")
    assert len(set(parts)) == len(parts) > 1
    assert set(parts) <= set(VIEWS)


@pytest.mark.parametrize("view", VIEWS)
def test_memory_follows_the_box_and_stays_in_bytes(view):
    image, mask = full(3000, 3000, 120), np.zeros((3000, 3000), bool)
    mask[100:2900, 100:2900] = True
    small = np.zeros_like(mask)
    small[5:55, 5:55] = True
    peaks = []
    for segment in (segment_from(mask), segment_from(small)):
        tracemalloc.start()
        crop_views(image, [segment], view, 64)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 3.3 * 3000 * 3000
    assert peaks[1] < 400_000


def test_bad_values_are_named():
    segment = segment_from(np.ones((4, 5), bool))
    known = "view 'red' is not known; choose from black, letterbox-black, .*, raw, ensemble"
    with pytest.raises(UsageError, match=known):
        crop_views(full(4, 5, 0), [segment], "red", 8)
    with pytest.raises(UsageError, match=known):
        members("red")
    with pytest.raises(UsageError, match="'ensemble' is several views; crop black, .* one by one"):
        crop_views(full(4, 5, 0), [segment], "ensemble", 8)
    with pytest.raises(UsageError, match="crop size 0"):
        crop_views(full(4, 5, 0), [segment], "black", 0)
    with pytest.raises(UsageError, match=r"\(4, 5\).*\(5, 4\)"):
        crop_views(full(5, 4, 0), [segment], "black", 8)
