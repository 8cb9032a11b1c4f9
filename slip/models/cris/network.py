"""CRIS (arXiv 2111.15174) as one network: pictures and expressions to logits."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from slip.models.clip import build_clip
from slip.models.cris.config import CrisConfig
from slip.models.cris.decoder import Decoder
from slip.models.cris.encoders import Encoders
from slip.models.cris.neck import Neck, Seen
from slip.models.cris.projector import Projector


class Read(NamedTuple):
    """Encoded expressions: words ``(N, L, W)``, sentence ``(N, D)``, padding ``bool (N, L)``."""

    words: Tensor
    sentence: Tensor
    padding: Tensor


class Cris(nn.Module):
    """Logits of stride 4 for K expressions on each of B pictures."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: CrisConfig) -> None:
        super().__init__()
        clip = build_clip(config.clip)
        self.config = config
        self.encoders = Encoders(clip)
        self.neck = Neck(config.stages, config.width)
        self.decoder = Decoder(
            config.width, config.word_width, config.layers, config.heads, config.hidden, config.dropout
        )
        self.projector = Projector(config.stages[2], config.width)
        for name in ("mean", "std"):
            channels = torch.tensor(config.clip[name], dtype=torch.float32).view(3, 1, 1)
            self.register_buffer(name, channels, persistent=False)

    def forward(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """``uint8 (B, 3, S, S)`` RGB and ``int64 (B, K, L)`` to logits ``(B, K, S / 4, S / 4)``."""
        batch, asked, length = tokens.shape
        logits = self.ask(self.see(pixels).repeated(asked), self.read(tokens.reshape(-1, length)))
        return logits.reshape(batch, asked, *logits.shape[1:])

    def see(self, pixels: Tensor) -> Seen:
        """What can be known of pictures before any text."""
        scaled = ((pixels.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.neck.see(*self.encoders.image(scaled))

    def read(self, tokens: Tensor) -> Read:
        """What can be known of expressions before any picture: ``int64 (N, L)``, 0 beyond the end."""
        words, sentence = self.encoders.text(tokens)
        return Read(words, sentence, tokens == 0)

    def ask(self, seen: Seen, read: Read) -> Tensor:
        """Logits ``(N, S / 4, S / 4)`` of N expressions on N pictures."""
        fused = self.neck(seen, read.sentence)
        decoded = self.decoder(fused, read.words, read.padding)
        logits: Tensor = self.projector(decoded, read.sentence)
        return logits
