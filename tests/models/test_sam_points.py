"""``Grid`` against its definition, point by point."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from segment_anything.utils.amg import build_point_grid

from slip.masks import mask_box
from slip.models.sam.fullsize import Found
from slip.models.sam.points import MARGIN, STRIDE, Grid


def found(mask: NDArray[np.bool_]) -> Found:
    box = mask_box(mask)
    assert box is not None
    return Found(box, np.packbits(mask[box.slices]), int(mask.sum()), 1.0)


def deep_inside(mask: NDArray[np.bool_], per_side: int) -> NDArray[np.bool_]:
    """The definition: all points of the grid as near as MARGIN lie in the mask."""
    places = build_point_grid(per_side).reshape(per_side, per_side, 2) * mask.shape[::-1]
    inside = np.array([[mask[int(y), int(x)] for x, y in row] for row in places])
    reach = ceil(MARGIN * per_side)
    deep = np.empty_like(inside)
    for row in range(per_side):
        for column in range(per_side):
            rows = slice(max(0, row - reach), row + reach + 1)
            deep[row, column] = inside[rows, max(0, column - reach) : column + reach + 1].all()
    return deep.ravel()


@st.composite
def masks(draw: st.DrawFn) -> NDArray[np.bool_]:
    """A rectangle, a disc or dust, perhaps with a hole; never empty."""
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    y, x = np.mgrid[:height, :width]
    row, column, radius = random.uniform((0, 0, 1), (height, width, max(height, width)))
    kind = draw(st.sampled_from(["rectangle", "disc", "dust"]))
    if kind == "rectangle":
        mask = (abs(y - row) < radius / 2) & (abs(x - column) < radius)
    elif kind == "disc":
        mask = (y - row) ** 2 + (x - column) ** 2 <= radius**2
    else:
        mask = random.random((height, width)) < 0.98
    if draw(st.booleans()):
        mask = mask & ~((abs(y - row) < 3) & (abs(x - column) < 3))
    mask[int(row), 0] = True
    return mask


@settings(max_examples=150)
@given(masks(), st.integers(1, 40))
def test_deep_inside_is_as_defined(mask: NDArray[np.bool_], per_side: int) -> None:
    found_ = found(mask)
    deep = Grid(per_side, mask.shape).deep_inside(found_)
    assert deep.dtype == bool
    assert np.array_equal(deep, deep_inside(mask, per_side))


@pytest.mark.parametrize("per_side", range(1, 41))
def test_points_are_the_librarys_in_its_order(per_side: int) -> None:
    grid = Grid(per_side, (30, 70))
    assert np.array_equal(grid.places, build_point_grid(per_side) * (70, 30))


@pytest.mark.parametrize("per_side", range(1, 41))
def test_coarse_points_are_a_lattice_that_leaves_none_alone(per_side: int) -> None:
    coarse = Grid(per_side, (50, 50)).coarse()
    assert coarse.dtype == bool and coarse.shape == (per_side**2,)
    rows, columns = np.nonzero(coarse.reshape(per_side, per_side))
    assert sorted(set(rows)) == sorted(set(columns))
    assert len(rows) == len(set(rows)) ** 2 and 1 <= len(set(rows)) <= ceil(per_side / STRIDE)
    assert set(np.diff(sorted(set(rows)))) <= {STRIDE}
    distance = abs(np.arange(per_side)[:, None] - sorted(set(rows))).min(1)
    assert distance.max() < STRIDE


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (3, 2)])
def test_a_mask_of_the_whole_picture_holds_all_points(size: tuple[int, int]) -> None:
    for per_side in (1, 2, 16, 33):
        assert Grid(per_side, size).deep_inside(found(np.ones(size, bool))).all()


def test_a_mask_narrower_than_the_margin_holds_none() -> None:
    mask = np.zeros((160, 160), bool)
    mask[:, 72:88] = True  # a sixteenth of the picture: one column of a grid of 16
    assert not Grid(16, mask.shape).deep_inside(found(mask)).any()
    mask[:, 60:100] = True
    assert Grid(16, mask.shape).deep_inside(found(mask)).sum() == 2 * 16
