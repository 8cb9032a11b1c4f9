"""The vision-language decoder (arXiv 2111.15174, section 3.2): pixels ask each other, then the words."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FIRST_SCALE = 0.1
"""First scale of the norms behind both attentions: a decoder begins near its input (not published)."""


class DecoderLayer(nn.Module):
    """Pre-norm self-attention, cross-attention and feed-forward; each attention's output is normed again."""

    def __init__(self, width: int, word_width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.cross = nn.MultiheadAttention(
            width, heads, dropout, kdim=word_width, vdim=word_width, batch_first=True
        )
        self.feed = nn.Sequential(
            nn.Linear(width, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.LayerNorm(hidden),
            nn.Linear(hidden, width),
        )
        self.before_own, self.before_cross, self.before_feed = (nn.LayerNorm(width) for _ in range(3))
        self.after_own, self.after_cross = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)
        for norm in (self.after_own, self.after_cross):
            nn.init.constant_(norm.weight, FIRST_SCALE)

    def forward(self, pixels: Tensor, words: Tensor, keys: Tensor, places: Tensor, padding: Tensor) -> Tensor:
        """Pixels ``(N, h * w, width)`` after one round.

        words: ``(N, L, W)``; keys: the same with their places; places: ``(h * w, width)`` of the pixels;
        padding: ``bool (N, L)``, true where a word is none.
        """
        normed = self.before_own(pixels)
        placed = normed + places
        pixels = pixels + self.drop(self.after_own(self.own(placed, placed, normed, need_weights=False)[0]))
        asked = self.before_cross(pixels) + places
        told = self.cross(asked, keys, words, key_padding_mask=padding, need_weights=False)[0]
        pixels = pixels + self.drop(self.after_cross(told))
        fed: Tensor = pixels + self.drop(self.feed(self.before_feed(pixels)))
        return fed


class Decoder(nn.Module):
    """``layers`` rounds and a final norm."""

    def __init__(
        self, width: int, word_width: int, layers: int, heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(width, word_width, heads, hidden, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        """``(N, width, h, w)`` of the same shape. words: ``(N, L, W)``; padding: ``bool (N, L)``."""
        count, width, height, across = features.shape
        pixels = features.flatten(2).transpose(1, 2)
        places = sinusoid_2d(width, height, across).to(pixels)
        keys = words + sinusoid(words.shape[2], torch.arange(words.shape[1])).to(words)
        for layer in self.layers:
            pixels = layer(pixels, words, keys, places, padding)
        decoded: Tensor = self.norm(pixels).transpose(1, 2).reshape(count, width, height, across)
        return decoded


def sinusoid(width: int, places: Tensor) -> Tensor:
    """Sines and cosines of places ``(P,)`` in turn, ``(P, width)`` (arXiv 1706.03762, section 3.5)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = places[:, None].float() * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def sinusoid_2d(width: int, height: int, across: int) -> Tensor:
    """The first half of the channels tells x, the second y: ``(height * across, width)``."""
    x = sinusoid(width // 2, torch.arange(across)).expand(height, across, width // 2)
    y = sinusoid(width // 2, torch.arange(height))[:, None].expand(height, across, width // 2)
    return torch.cat([x, y], -1).flatten(0, 1)
