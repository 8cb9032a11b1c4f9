"""The letterbox and its inverse: exact where a picture ends."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slip.errors import UsageError
from slip.models.letterbox import Letterbox

SIZES = st.integers(1, 300)


@given(SIZES, SIZES, st.sampled_from([16, 64, 97]))
def test_where_the_picture_lies(height: int, width: int, side: int) -> None:
    box = Letterbox.of((height, width), side)
    assert max(box.height, box.width) == side
    assert box.top >= 0 and box.top + box.height <= side
    assert box.left >= 0 and box.left + box.width <= side
    assert abs((side - box.height) - 2 * box.top) <= 1 and abs((side - box.width) - 2 * box.left) <= 1
    scale = side / max(height, width)
    assert abs(box.height - height * scale) <= 0.5 or box.height == 1
    assert abs(box.width - width * scale) <= 0.5 or box.width == 1


@given(SIZES, SIZES)
def test_the_padding_and_nothing_else_has_its_colour(height: int, width: int) -> None:
    box = Letterbox.of((height, width), 64)
    square = box.picture(np.full((height, width, 3), 200, np.uint8), (1, 2, 3))
    inside = np.zeros((64, 64), bool)
    inside[box.window] = True
    assert (square[inside] == 200).all() and (square[~inside] == (1, 2, 3)).all()


@given(SIZES, SIZES)
def test_a_whole_mask_comes_back_whole(height: int, width: int) -> None:
    box = Letterbox.of((height, width), 64)
    square = box.mask(np.ones((height, width), bool))
    assert (square[box.window] == 255).all() and int(square.sum()) == 255 * box.height * box.width
    back = box.undo(square.astype(np.float32) / 255)
    assert back.shape == (height, width) and back.dtype == np.float32
    assert np.allclose(back, 1, atol=1e-5), "the padding does not bleed into the picture"


@pytest.mark.parametrize("size", [(64, 64), (64, 40), (33, 64)], ids=str)
def test_nothing_is_resampled_where_nothing_must_be(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (*size, 3), np.uint8), rng.random(size) > 0.5
    box = Letterbox.of(size, 64)
    assert np.array_equal(box.picture(image, (0, 0, 0))[box.window], image)
    assert np.array_equal(box.undo((box.mask(mask) > 127).astype(np.float32)) > 0.5, mask)


@pytest.mark.parametrize(("size", "side"), [((100, 60), 50), ((60, 100), 200), ((128, 128), 64)], ids=str)
def test_edges_keep_their_places(size: tuple[int, int], side: int) -> None:
    """A mask up to a line comes back up to that line, whatever the scale."""
    height, width = size
    for line in range(4, width, 7):
        mask = np.zeros(size, bool)
        mask[:, :line] = True
        box = Letterbox.of(size, side)
        back = box.undo(box.mask(mask).astype(np.float32) / 255) > 0.5
        ends = back.sum(axis=1)
        assert abs(ends - line).max() <= max(1, 0.5 * max(size) / side), line


def test_pictures_are_cubic() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    box = Letterbox.of((20, 30), 60)
    wanted = cv2.resize(image, (60, 40), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(box.picture(image, (0, 0, 0))[box.window], wanted)


def test_what_cannot_be_boxed() -> None:
    with pytest.raises(UsageError, match="give 1 or more"):
        Letterbox.of((0, 5), 64)
    with pytest.raises(UsageError, match=r"a picture of \(4, 4\) pixels; expected \(5, 5\)"):
        Letterbox.of((5, 5), 64).picture(np.zeros((4, 4, 3), np.uint8), (0, 0, 0))
