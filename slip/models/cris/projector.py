"""The projectors (arXiv 2111.15174, section 3.3): each sentence becomes a filter over the pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import fold

from slip.models.cris.neck import block, doubled

KERNEL = 3
FIRST_SCALE = 0.1
"""First scale of the filters: untaught logits are near 0, not in the tens (ours, not published)."""


class Projector(nn.Module):
    """Pixels become four times as fine, of ``width / 2`` channels; a sentence becomes a filter over them."""

    def __init__(self, sentence: int, width: int) -> None:
        super().__init__()
        self.channels = width // 2
        self.finer, self.finest = block(width, width, 3), block(width, self.channels, 3)
        self.pixels = nn.Conv2d(self.channels, self.channels, 1)
        self.filters = nn.Linear(sentence, self.channels * KERNEL**2 + 1)
        with torch.no_grad():
            for parameter in self.filters.parameters():
                parameter.mul_(FIRST_SCALE)

    def forward(self, features: Tensor, sentence: Tensor) -> Tensor:
        """``(N, width, h, w)`` and ``(N, D)`` to logits ``(N, 4 h, 4 w)``: z_t . z_v of every pixel."""
        pixels = self.pixels(self.finest(doubled(self.finer(doubled(features)))))
        told = self.filters(sentence).to(pixels.dtype)
        return filtered(pixels, told[:, :-1].reshape(len(told), self.channels, -1), told[:, -1])


def filtered(pixels: Tensor, filters: Tensor, bias: Tensor) -> Tensor:
    """Each of N maps ``(N, C, h, w)`` convolved with its own 3 x 3 filter ``(N, C, 9)``: ``(N, h, w)``.

    The same as a grouped convolution, in a fifth of the time on a CPU: every tap is a matrix product, and
    what they give is laid over each other, shifted.
    """
    count, _, height, width = pixels.shape
    taps = filters.flip(2).transpose(1, 2) @ pixels.flatten(2)
    laid = fold(taps, (height, width), KERNEL, padding=KERNEL // 2)
    return laid.reshape(count, height, width) + bias[:, None, None]
