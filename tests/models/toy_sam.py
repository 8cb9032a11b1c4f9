"""Small SAMs of segment_anything's own classes, with random weights, and what the library says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from cli.tiny_models import SAM
from numpy.typing import NDArray
from segment_anything.modeling import Sam

from slip.models.sam import build_sam
from slip.options import ProposeOptions
from slip.types import Image, Segment

TOY: dict[str, Any] = SAM | {"out_chans": 32, "mask_in_chans": 8, "decoder_mlp_dim": 32}
ALL = ProposeOptions(
    points_per_side=4,
    pred_iou_thresh=0.0,
    stability_thresh=0.0,
    points="exhaustive",
    points_per_batch=6,
)
"""Every mask at every point."""


def toy(**changes: Any) -> Sam:
    """The smallest SAM but for ``changes`` in its configuration."""
    torch.manual_seed(2)
    return shaken(build_sam({**TOY, **changes}))


def shaken(sam: Sam) -> Sam:
    """``sam`` with random tensors, also where they start as zeros or ones; its masks differ by point."""
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in sam.state_dict().items():
            tensor += 0.1 * torch.randn(tensor.shape, generator=noise)
            if "output_hypernetworks" in name and ".layers.2." in name:
                tensor *= 0.0 if name.endswith("bias") else 100.0
    return sam


def picture(height: int, width: int, seed: int = 0) -> Image:
    """Noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def points_of(sam: Sam, count: int, seed: int = 0) -> torch.Tensor:
    """Random points of the input, ``float32 (count, 2)``."""
    side = sam.image_encoder.img_size
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * side


def whole(found: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of the picture's size of a ``Found``, or of nothing."""
    mask = np.zeros(size, bool)
    if found is not None:
        mask[found.box.slices] = found.patch
    return mask


def check_same(found: Sequence[Segment], expected: Sequence[Segment]) -> None:
    """The same segments in the same order, but for rounding.

    Of a mask, a thousandth of the pixels may lie so near to the threshold that rounding moves them.
    """
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.image_size == theirs.image_size
        moved = np.count_nonzero(ours.mask != theirs.mask)
        assert moved <= theirs.area / 1000
        if not moved:
            assert ours.box == theirs.box
        assert ours.predicted_iou == pytest.approx(theirs.predicted_iou, abs=1e-4)
        assert ours.stability == pytest.approx(theirs.stability, abs=1e-3)
