from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slip import drawing
from slip.drawing import MIN_TEXT, cutout, index_picture, mask_picture, overlay
from slip.errors import UsageError
from slip.masks import segment_of
from slip.types import Box, Segment

RNG = np.random.default_rng(3)


def rectangle(x1: int, y1: int, x2: int, y2: int, image_size: tuple[int, int] = (60, 80)) -> Segment:
    return Segment(np.ones((y2 - y1, x2 - x1), bool), Box(x1, y1, x2, y2), image_size)


def noise(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_mask_picture_is_0_and_255() -> None:
    mask = RNG.random((20, 30)) < 0.5
    segment = segment_of(mask)
    assert segment
    picture = mask_picture(segment)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.where(mask, 255, 0))


def test_cutout_keeps_the_segment_and_nothing_else() -> None:
    image, mask = noise(20, 30), RNG.random((20, 30)) < 0.3
    segment = segment_of(mask)
    assert segment
    rgba = cutout(image, segment)
    assert rgba.shape == (20, 30, 4)
    np.testing.assert_array_equal(rgba[mask], np.column_stack([image[mask], np.full(mask.sum(), 255)]))
    assert not rgba[~mask].any()


@given(st.integers(0, 10**6), st.integers(0, 12))
@settings(max_examples=50)
def test_index_picture_draws_smaller_over_larger(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = [segment_of(rng.random((9, 11)) < rng.random()) for _ in range(count)]
    segments = [segment for segment in drawn if segment]
    picture = index_picture(segments, (9, 11))
    assert picture.dtype == np.uint8
    for y, x in np.ndindex(9, 11):
        here = [(s.area, i + 1) for i, s in enumerate(segments) if s.mask[y, x]]
        assert picture[y, x] == (min(here)[1] if here else 0)


@pytest.mark.parametrize(("count", "dtype"), [(0, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_index_picture_has_room_for_every_index(count: int, dtype: type) -> None:
    segments = [rectangle(i % 80, i // 80, i % 80 + 1, i // 80 + 1) for i in range(count)]
    picture = index_picture(segments, (60, 80))
    assert picture.dtype == dtype and picture.max() == count


def test_index_picture_refuses_more_than_it_can_count() -> None:
    with pytest.raises(UsageError, match="65536 segments"):
        index_picture([rectangle(0, 0, 1, 1)] * 65536, (60, 80))


def test_overlay_shows_the_segment_and_dims_the_rest() -> None:
    image = np.full((120, 160, 3), (90, 160, 220), np.uint8)
    segment = rectangle(40, 30, 120, 90, (120, 160))
    shown = overlay(image, segment).astype(int)
    assert shown.shape == image.shape and (image == (90, 160, 220)).all()
    inside, outside, edge = shown[60, 80], shown[5, 5], shown[60, 38:43]
    assert np.abs(inside - image[60, 80]).max() < 60
    assert outside.sum() < 0.6 * image[5, 5].sum()
    assert np.ptp(outside) < 0.4 * np.ptp(image[5, 5].astype(int))
    assert np.abs(edge - (255, 176, 0)).sum(axis=1).min() < 60


def test_the_outline_is_anti_aliased() -> None:
    y, x = np.mgrid[:200, :200]
    disc = segment_of((x - 100) ** 2 + (y - 100) ** 2 < 70**2)
    assert disc
    shown = overlay(np.zeros((200, 200, 3), np.uint8), disc)
    assert len(np.unique(shown[..., 0])) > 20


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 2)])
def test_overlay_of_the_smallest_pictures(size: tuple[int, int]) -> None:
    shown = overlay(np.zeros((*size, 3), np.uint8), rectangle(0, 0, 1, 1, size), "a prompt")
    assert shown.shape == (*size, 3)


def changed_by_caption(caption: str, segment: Segment) -> np.ndarray:
    image = np.zeros((*segment.image_size, 3), np.uint8)
    return (overlay(image, segment, caption) != overlay(image, segment)).any(axis=2)


@pytest.mark.parametrize("box", [(100, 100, 150, 150), (0, 0, 40, 40), (270, 10, 300, 200), (0, 0, 300, 200)])
def test_a_caption_is_written_whole_inside_the_picture(box: tuple[int, int, int, int]) -> None:
    changed = changed_by_caption("a small red bird 0.274", rectangle(*box, (200, 300)))
    assert changed.any()
    plate = segment_of(changed)
    assert plate and plate.box.height >= MIN_TEXT and plate.box.width > plate.box.height


def test_a_caption_shrinks_to_fit_or_is_left_out() -> None:
    segment = rectangle(100, 100, 150, 150, (200, 300))
    assert changed_by_caption("a rather long prompt of fifty letters, more or so", segment).any()
    for caption in ("", "  \n ", "word " * 200, "x" * 100_000, "\u732b", "\u043a\u043e\u0442"):
        assert not changed_by_caption(caption, segment).any()
    assert changed_by_caption("two\nlines", segment).any()


@pytest.mark.parametrize("make", [cutout, overlay])
def test_a_segment_of_another_picture_is_refused(make: object) -> None:
    with pytest.raises(UsageError, match=r"\(60, 80\), this one is \(61, 80\)"):
        make(noise(61, 80), rectangle(0, 0, 5, 5))  # type: ignore[operator]
    with pytest.raises(UsageError, match="another|of size"):
        index_picture([rectangle(0, 0, 5, 5)], (61, 80))


@given(st.integers(1, 150), st.integers(1, 150), st.integers(20, 70), st.integers(0, 99))
@settings(max_examples=60)
def test_an_overlay_in_tiles_is_that_of_the_whole(width: int, height: int, tile: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    image = draw.integers(0, 256, (height, width, 3), np.uint8)
    level = cv2.GaussianBlur(draw.random((height, width)).astype(np.float32), (0, 0), 6)
    segment = segment_of(level >= np.median(level))
    assert segment
    whole = overlay(image, segment, "a thing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "_TILE", tile)
        np.testing.assert_array_equal(overlay(image, segment, "a thing"), whole)
