"""The cross-modal neck (arXiv 2111.15174, section 3.1): three strides and the sentence into one map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate


def block(channels: int, out: int, kernel: int) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    convolution = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def doubled(features: Tensor) -> Tensor:
    """Twice as high and as wide, bilinearly."""
    return interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


def with_coordinates(features: Tensor) -> Tensor:
    """``(N, C, h, w)`` with x and y, each -1 to 1, as two more channels (CoordConv, arXiv 1807.03247)."""
    count, _, height, width = features.shape
    x = torch.linspace(-1, 1, width).to(features).expand(count, 1, height, width)
    y = torch.linspace(-1, 1, height).to(features)[:, None].expand(count, 1, height, width)
    return torch.cat([features, x, y], 1)


class Seen(NamedTuple):
    """What the neck makes of a picture before any text: maps of strides 16, 16 and 32."""

    c3: Tensor
    c4: Tensor
    c5: Tensor

    def repeated(self, times: int) -> Seen:
        """For ``times`` expressions on each picture, those of a picture together."""
        return Seen(*(features.repeat_interleave(times, 0) for features in self))


class Neck(nn.Module):
    """``stages``: channels of C3, C4 and C5, and of the sentence those of C5. ``width``: of the result."""

    def __init__(self, stages: tuple[int, int, int], width: int) -> None:
        super().__init__()
        wide, half = 2 * width, width // 2
        self.sentence = nn.Sequential(
            nn.Linear(stages[2], wide, bias=False), nn.BatchNorm1d(wide), nn.ReLU(inplace=True)
        )
        self.c3, self.c4, self.c5 = (
            block(stages[0], half, 3),
            block(stages[1], width, 3),
            block(stages[2], wide, 1),
        )
        self.joined = nn.Sequential(nn.BatchNorm2d(wide), nn.ReLU(inplace=True))
        self.f4, self.f3 = block(width + wide, width, 1), block(half + width, width, 1)
        self.from_5, self.from_4, self.from_3 = (
            block(wide, width, 3),
            block(width, width, 3),
            block(width, width, 3),
        )
        self.merged = block(3 * width, width, 1)
        self.placed = nn.Sequential(block(width + 2, width, 3), block(width, width, 3))

    def see(self, c3: Tensor, c4: Tensor, c5: Tensor) -> Seen:
        """The part of the work that no text changes."""
        return Seen(avg_pool2d(self.c3(c3), 2), self.c4(c4), self.c5(c5))

    def forward(self, seen: Seen, sentence: Tensor) -> Tensor:
        """Maps of N pictures and their N sentences ``(N, D)`` to ``(N, width, h, w)`` of stride 16."""
        f5 = self.joined(seen.c5 * self.sentence(sentence)[..., None, None])
        f4 = self.f4(torch.cat([seen.c4, doubled(f5)], 1))
        f3 = self.f3(torch.cat([seen.c3, f4], 1))
        levels = [doubled(self.from_5(f5)), self.from_4(f4), self.from_3(f3)]
        fused: Tensor = self.placed(with_coordinates(self.merged(torch.cat(levels, 1))))
        return fused
