"""The paper's dual encoder as small as it can be built, with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from slip.models.checkpoint import save_checkpoint
from slip.models.simple_clip import Shape, SimpleClipConfig, build_simple_clip, vocabulary_of

SHAPE = Shape(
    image_size=32, layers=(1, 1, 1, 1), width=4, dim=16, hidden_dim=32, heads=2, depth=1, context=32
)
SIMPLE_CLIP = SimpleClipConfig(8, vocabulary_of(["a red bird", "a fish with a tail"]), SHAPE)


def save_simple_clip(path: Path) -> Path:
    """Write a checkpoint of it."""
    torch.manual_seed(0)
    save_checkpoint(path, "simple_clip", SIMPLE_CLIP.to_json(), build_simple_clip(SIMPLE_CLIP).state_dict())
    return path
