"""Each shortcut of ``FullSize`` against its twin at full resolution: segment_anything's own functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from models.toy_sam import toy, whole
from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score
from torch.nn import functional as F

from slip.models.sam.fullsize import STABILITY_OFFSET, FullSize
from slip.models.sam.resize import Resize

SAM = toy()
SIDE = SAM.image_encoder.img_size
LOW = 4 * SAM.prompt_encoder.image_embedding_size[0]
NEAR = 1e-4
"""Logits this near to a threshold may fall on either side of it."""
CPU = torch.device("cpu")

sizes = st.one_of(
    st.tuples(st.integers(1, 150), st.integers(1, 150)),
    st.tuples(st.integers(1, LOW // 2), st.integers(1, LOW // 2)),  # that skip most logits
)


def noise(random: torch.Generator, smoothness: int, scale: float, shift: float) -> torch.Tensor:
    """Logits ``float32 (3, LOW, LOW)``; the smoother they are, the larger are their masks."""
    logits = torch.randn(3, 1, LOW, LOW, generator=random)
    for _ in range(smoothness):
        logits = F.avg_pool2d(F.pad(logits, (2, 2, 2, 2), mode="replicate"), 5, 1)
    return logits[:, 0] / logits.std() * scale + shift


def blobs(random: torch.Generator, scale: float) -> torch.Tensor:
    """Logits ``float32 (3, LOW, LOW)``: a rectangle above the threshold and nothing else."""
    logits = torch.full((3, LOW, LOW), -scale)
    for each in logits:
        y, x, height, width = torch.randint(0, LOW, (4,), generator=random).tolist()
        each[y : y + height // 3 + 1, x : x + width // 3 + 1] = 1.37 * scale
    return logits


@st.composite
def masses(draw: st.DrawFn) -> torch.Tensor:
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    scale = draw(st.floats(0.5, 30))
    if draw(st.booleans()):
        return blobs(random, scale)
    return noise(random, draw(st.integers(0, 3)), scale, draw(st.floats(-2, 2)) * scale)


def enlarger(size: tuple[int, int], threshold: float = 0.0) -> FullSize:
    seen = Resize.get_preprocess_shape(*size, SIDE)
    return FullSize((LOW, LOW), SIDE, seen, size, threshold, CPU)


def enlarged(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """What segment_anything makes of them, ``float32 (3, H, W)``."""
    seen = Resize.get_preprocess_shape(*size, SIDE)
    return SAM.postprocess_masks(logits[:, None], seen, size)[:, 0]


@settings(max_examples=150)
@given(masses(), sizes, st.sampled_from([0.0, -1.5, 2.0]))
@example(blobs(torch.Generator().manual_seed(4), 5.0), (3, 3), 0.0)
def test_masks_boxes_and_stability_are_the_librarys(
    logits: torch.Tensor, size: tuple[int, int], threshold: float
) -> None:
    full = enlarged(logits, size)
    boxes = batched_mask_to_box(full > threshold)
    stabilities = calculate_stability_score(full, threshold, STABILITY_OFFSET)
    for found, large, box, stability in zip(
        enlarger(size, threshold).find(logits, 0.0), full, boxes, stabilities, strict=True
    ):
        sure = ((large - threshold).abs() > NEAR).numpy()
        expected = (large > threshold).numpy()
        mask = whole(found, size)
        assert np.array_equal(mask[sure], expected[sure])
        if found is None:
            continue
        assert found.area == np.count_nonzero(found.patch) == np.count_nonzero(mask)
        assert found.patch.any(0)[[0, -1]].all() and found.patch.any(1)[[0, -1]].all()
        if np.array_equal(mask, expected):
            assert (found.box.x1, found.box.y1, found.box.x2 - 1, found.box.y2 - 1) == tuple(box.tolist())
        edges = threshold - STABILITY_OFFSET, threshold + STABILITY_OFFSET
        if not any(((large - edge).abs() <= NEAR).any() for edge in edges):
            assert found.stability == pytest.approx(stability.item(), abs=1e-6)


@settings(max_examples=50)
@given(masses(), sizes, st.floats(0, 1, width=32))
def test_what_is_less_stable_is_left_out(logits: torch.Tensor, size: tuple[int, int], least: float) -> None:
    enlarge = enlarger(size)
    every, some = enlarge.find(logits, 0.0), enlarge.find(logits, least)
    for any_, stable in zip(every, some, strict=True):
        if any_ is None or any_.stability < least:
            assert stable is None
        else:
            assert stable is not None and stable.box == any_.box
            assert np.array_equal(stable.patch, any_.patch)


@settings(max_examples=30)
@given(masses(), sizes)
def test_masks_do_not_depend_on_each_other(logits: torch.Tensor, size: tuple[int, int]) -> None:
    enlarge = enlarger(size)
    singly = [enlarge.find(logits[index : index + 1], 0.0)[0] for index in range(len(logits))]
    for together, alone in zip(enlarge.find(logits, 0.0), singly, strict=True):
        assert np.array_equal(whole(together, size), whole(alone, size))


@settings(max_examples=30)
@given(sizes)
def test_constant_logits_fill_the_picture_or_nothing(size: tuple[int, int]) -> None:
    full, low, unsure = enlarger(size).find(
        torch.tensor([3.0, -3.0, -0.5])[:, None, None].expand(-1, LOW, LOW), 0.0
    )
    assert low is None and unsure is None
    assert full is not None and full.patch.all() and full.stability == 1.0
    assert (full.box.height, full.box.width) == size and full.area == size[0] * size[1]


@pytest.mark.parametrize("logit", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", [slice(None), slice(3, 9)])
def test_logits_that_are_no_numbers_raise_nothing(logit: float, where: slice) -> None:
    logits = noise(torch.Generator().manual_seed(0), 2, 5.0, 0.0)
    clean = logits[1:].clone()
    logits[0, where, where] = logit
    found = enlarger((50, 70)).find(logits, 0.0)
    for each, other in zip(found[1:], enlarger((50, 70)).find(clean, 0.0), strict=True):
        assert np.array_equal(whole(each, (50, 70)), whole(other, (50, 70)))
    assert found[0] is None or (np.isfinite(found[0].stability) and found[0].patch.any())


def test_no_logits_give_no_masks() -> None:
    assert enlarger((50, 70)).find(torch.empty(0, LOW, LOW), 0.0) == []


def test_a_mask_takes_a_bit_a_pixel_of_its_box() -> None:
    logits = torch.full((1, LOW, LOW), -5.0)
    logits[0, 8:16, 8:16] = 5.0
    (found,) = enlarger((512, 512)).find(logits, 0.0)
    assert found is not None
    assert found.bits.nbytes == -(-found.box.height * found.box.width // 8) < 512 * 512 / 8 / 10
