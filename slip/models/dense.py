"""CLIP's features for every place of a picture: the pooling at its end is left out (MaskCLIP).

Zhou et al. 2022, "Extract Free Dense Labels from CLIP", arXiv 2112.01071, section 3.2: the last attention
mixes all places into one; its value and output projections alone keep them apart, in the space of the text.
"""

from __future__ import annotations

from typing import Any

from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.nn.functional import linear

from slip.errors import UsageError

CELLS = 12
"""Places a side that a convolutional tower is shown, where it takes any size."""

STRIDE = 32
"""Pixels a side that one place of a ModifiedResNet covers."""


def dense_side(tower: Any, image_size: int) -> int:
    """Side in pixels of the square picture that ``dense_features`` takes."""
    return max(image_size, CELLS * STRIDE) if isinstance(tower, ModifiedResNet) else image_size


def dense_features(tower: Any, pixels: Tensor) -> Tensor:
    """Features ``float (B, h, w, D)`` of normalised pixels ``(B, 3, S, S)``, S being ``dense_side``.

    Raises UsageError for a tower that is neither a ModifiedResNet nor a VisionTransformer of two
    blocks or more with a class token.
    """
    if isinstance(tower, ModifiedResNet):
        pool = tower.attnpool
        return _projected(_last_map(tower, pixels, 1), pool.v_proj, pool.c_proj)
    if isinstance(tower, VisionTransformer) and _ends_in_a_class_token(tower):
        return _of_transformer(tower, pixels)
    raise UsageError(f"{type(tower).__name__} has no dense features; choose --points adaptive")


def _ends_in_a_class_token(tower: Any) -> bool:
    return tower.attn_pool is None and tower.pool_type == "tok" and len(tower.transformer.resblocks) > 1


def _of_transformer(tower: VisionTransformer, pixels: Tensor) -> Tensor:
    """Without the residual, the attention and the perceptron of the last block."""
    last = tower.transformer.resblocks[-1]
    width = last.attn.embed_dim
    normed = last.ln_1(_last_map(tower, pixels, 2))
    values = linear(normed, last.attn.in_proj_weight[2 * width :], last.attn.in_proj_bias[2 * width :])
    features: Tensor = tower.ln_post(last.attn.out_proj(values)) @ tower.proj
    return features


def _last_map(tower: Any, pixels: Tensor, back: int) -> Tensor:
    """What the tower's stage ``back`` from its end puts out, ``(B, h, w, C)``."""
    found = tower.forward_intermediates(pixels, indices=back, intermediates_only=True)
    places: Tensor = found["image_intermediates"][0]
    return places.permute(0, 2, 3, 1)


def _projected(places: Tensor, values: Any, outputs: Any) -> Tensor:
    return linear(linear(places, values.weight, values.bias), outputs.weight, outputs.bias)
