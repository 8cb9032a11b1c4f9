"""Checkpoints of the smallest networks, with random weights: they answer at once, and wrongly."""

from __future__ import annotations

from pathlib import Path

import torch

from slip.models.checkpoint import save_checkpoint
from slip.models.clip import build_clip
from slip.models.sam import build_sam

SAM = {
    "image_size": 64,
    "patch_size": 8,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "window_size": 4,
    "global_attn_indexes": [1],
    "use_rel_pos": True,
    "out_chans": 16,
    "mask_in_chans": 4,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "decoder_mlp_dim": 16,
    "iou_head_depth": 2,
    "iou_head_hidden_dim": 16,
}
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}

EVERY_SEGMENT = [
    "--pred-iou-thresh",
    "0",
    "--stability-thresh",
    "0",
    "--points-per-side",
    "4",
    "--overlap",
    "none",
]
"""Options by which all that the random SAM finds is kept."""


def save_models(folder: Path) -> list[str]:
    """Write both checkpoints; returns the options that make ``slip segment`` use them."""
    torch.manual_seed(0)
    sam, clip = folder / "sam.safetensors", folder / "clip.safetensors"
    save_checkpoint(sam, "sam", SAM, build_sam(SAM).state_dict())
    save_checkpoint(clip, "clip", CLIP, build_clip(CLIP).state_dict())
    return ["--sam", str(sam), "--clip", str(clip)]
