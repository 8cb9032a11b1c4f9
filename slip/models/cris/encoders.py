"""CLIP's two encoders, tapped: maps of three strides, the words of a text and the whole of it."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, multi_head_attention_forward


class Encoders(nn.Module):
    """A CLIP with a ModifiedResNet; its own modules and weights, read at other places.

    In the attention pool every position is a query, the position embedding loses its class token and
    is resized bicubically, and a convolution passes by (``connect``), which is the only new part.
    """

    def __init__(self, clip: open_clip.CLIP) -> None:
        super().__init__()
        self.clip = clip
        clip.logit_scale.requires_grad_(False)
        pool: Any = clip.visual.attnpool
        channels, out = pool.c_proj.in_features, pool.c_proj.out_features
        self.connect = nn.Sequential(nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out))

    def image(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised ``(B, 3, S, S)`` to C3, C4 and C5, of strides 8, 16 and 32."""
        visual: Any = self.clip.visual
        c3 = visual.layer2(visual.layer1(visual.stem(pixels)))
        c4 = visual.layer3(c3)
        c5 = visual.layer4(c4)
        return c3, c4, torch.relu(self._pooled(c5) + self.connect(c5))

    def _pooled(self, features: Tensor) -> Tensor:
        """The attention pool with every position as a query: ``(B, C, h, w)`` to ``(B, D, h, w)``."""
        pool: Any = self.clip.visual.attnpool
        batch, channels, height, width = features.shape
        tokens = features.flatten(2).permute(2, 0, 1)
        tokens = tokens + resized(pool.positional_embedding, height, width)[:, None].to(tokens.dtype)
        mixed, _ = multi_head_attention_forward(
            tokens,
            tokens,
            tokens,
            channels,
            pool.num_heads,
            None,
            torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
            None,
            None,
            False,
            0.0,
            pool.c_proj.weight,
            pool.c_proj.bias,
            need_weights=False,
            use_separate_proj_weight=True,
            q_proj_weight=pool.q_proj.weight,
            k_proj_weight=pool.k_proj.weight,
            v_proj_weight=pool.v_proj.weight,
        )
        return mixed.permute(1, 2, 0).reshape(batch, -1, height, width)

    def text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """``int64 (N, L)`` to the words ``(N, L, W)`` after the final norm, and the sentence ``(N, D)``."""
        clip: Any = self.clip
        length = tokens.shape[1]
        words = clip.token_embedding(tokens) + clip.positional_embedding[:length]
        words = clip.transformer(words, attn_mask=clip.attn_mask[:length, :length])
        words = clip.ln_final(words)
        ends = words[torch.arange(len(words), device=words.device), tokens.argmax(-1)]
        return words, ends @ clip.text_projection


def resized(embedding: Tensor, height: int, width: int) -> Tensor:
    """A square grid's position embedding ``(1 + s * s, C)`` without its class token, ``(h * w, C)``."""
    places, channels = embedding[1:].shape
    side = round(places**0.5)
    if (side, side) == (height, width):
        return embedding[1:]
    grid = embedding[1:].T.reshape(1, channels, side, side)
    grid = interpolate(grid.float(), (height, width), mode="bicubic", align_corners=False)
    return grid.flatten(2)[0].T
