"""SAM's image encoder: segment_anything's blocks and weights, attention a piece at a time.

Global attention with relative positions (SAM paper, appendix A; Li et al. 2022, arXiv 2203.16527)
compares 4,096 pixels with each other in 12 heads. Whole, that is a table of 0.8 GB which is written and
read again several times; a few rows of one head at a time stay in the cache.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import product

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT, Sam
from segment_anything.modeling.image_encoder import (
    Attention,
    Block,
    get_rel_pos,
    window_partition,
    window_unpartition,
)
from torch import Tensor

from slip.device import Compute
from slip.models.sam.budget import Budget
from slip.models.sam.resize import Resize
from slip.types import Image

SCORES = Budget(on_cpu=2**21, elsewhere=2**28)
"""Attention scores computed at once."""


@torch.inference_mode()
def encode_image(sam: Sam, image: Image, compute: Compute) -> tuple[Tensor, tuple[int, int]]:
    """The embedding of a ``uint8 (H, W, 3)`` RGB picture, ``float32 (C, h, w)``.

    Also the (height, width) of the picture as the encoder sees it: its long side fills the input, the
    rest is padding.
    """
    seen = Resize(sam.image_encoder.img_size).apply_image(image)
    pixels = torch.as_tensor(np.ascontiguousarray(seen), device=compute.device).permute(2, 0, 1)[None]
    with compute.autocast():
        embedding = _encode(sam.image_encoder, sam.preprocess(pixels))
    return embedding[0].float(), (seen.shape[0], seen.shape[1])


def _encode(encoder: ImageEncoderViT, pixels: Tensor) -> Tensor:
    tokens = encoder.patch_embed(pixels)
    if encoder.pos_embed is not None:
        tokens = tokens + encoder.pos_embed
    for block in encoder.blocks:
        tokens = _block(block, tokens)
    embedding: Tensor = encoder.neck(tokens.permute(0, 3, 1, 2))
    return embedding


def _block(block: Block, tokens: Tensor) -> Tensor:
    size = tokens.shape[1:3]
    normed = block.norm1(tokens)
    if block.window_size:
        windows, padded = window_partition(normed, block.window_size)
        attended = window_unpartition(_attend(block.attn, windows), block.window_size, padded, size)
    else:
        attended = _attend(block.attn, normed)
    tokens = tokens + attended
    changed: Tensor = block.mlp(block.norm2(tokens))
    return tokens + changed


def _attend(attention: Attention, tokens: Tensor) -> Tensor:
    """Self-attention of ``(B, H, W, C)``."""
    batch, height, width, _ = tokens.shape
    qkv = attention.qkv(tokens).reshape(batch, height, width, 3, attention.num_heads, -1)
    queries, keys, values = qkv.permute(3, 0, 4, 1, 2, 5).flatten(1, 2).unbind(0)
    with _without_autocast(queries):
        found = _in_pieces(attention, queries, keys.flatten(1, 2), values.flatten(1, 2))
    joined = found.view(batch, -1, *found.shape[1:]).permute(0, 2, 3, 1, 4).flatten(3)
    projected: Tensor = attention.proj(joined)
    return projected


def _without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """Under autocast, softmax would go back to float32; where none is on, not every device knows it."""
    if tensor.dtype == torch.float32:
        return nullcontext()
    return torch.autocast(tensor.device.type, enabled=False)


def _in_pieces(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """``(B, H, W, d)`` queries, ``(B, H W, d)`` keys and values: some of B, then some rows, at a time."""
    batch, height, width, _ = queries.shape
    by_row = _relative(attention, queries, "h") if attention.use_rel_pos else None
    by_column = _relative(attention, queries, "w") if attention.use_rel_pos else None
    rows = min(height, SCORES.fitting(width * height * width, queries.device))
    items = SCORES.fitting(rows * width * height * width, queries.device)
    found = torch.empty_like(queries)
    for piece in product(_slices(batch, items), _slices(height, rows)):
        some = queries[piece]
        scores = (some.flatten(1, 2) * attention.scale) @ keys[piece[0]].transpose(1, 2)
        if by_row is not None and by_column is not None:
            table = scores.view(*some.shape[:3], height, width)
            table += by_row[piece][..., None]
            table += by_column[piece][..., None, :]
        found[piece] = (scores.softmax(-1) @ values[piece[0]]).view_as(some)
    return found


def _relative(attention: Attention, queries: Tensor, axis: str) -> Tensor:
    """What a query's distance to each row (``h``) or column (``w``) adds: ``(B, H, W, H or W)``."""
    side = queries.shape[1] if axis == "h" else queries.shape[2]
    table = get_rel_pos(side, side, getattr(attention, f"rel_pos_{axis}")).to(queries.dtype)
    return torch.einsum(f"bhwc,{axis}kc->bhwk", queries, table)


def _slices(count: int, step: int) -> list[slice]:
    return [slice(start, start + step) for start in range(0, count, step)]
