"""The smallest CRIS, upon the smallest CLIP with a ModifiedResNet: random weights, and wrong answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from slip.models.checkpoint import save_checkpoint
from slip.models.cris.config import CrisConfig
from slip.models.cris.network import Cris

CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64, "head_width": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    "mean": [0.5, 0.4, 0.3],
    "std": [0.5, 0.5, 0.5],
}
CRIS = CrisConfig(CLIP, image_size=64, words=12, width=16, layers=2, heads=2, hidden=32, dropout=0.0)


def small_cris(seed: int = 0) -> Cris:
    """In evaluation mode; every residual block has its say, as after a training."""
    torch.manual_seed(seed)
    network = Cris(CRIS)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bn3.weight"):
                parameter.fill_(0.5)
        network.projector.filters.weight *= 100
        network.projector.filters.bias *= 100
        network.projector.filters.bias[-1] = -0.6
    return network.eval()


def save_cris(path: Path, training: dict[str, Any] | None = None) -> Path:
    """Write its checkpoint."""
    save_checkpoint(path, "cris", CRIS.to_json(), small_cris().state_dict(), training)
    return path
