"""CRIS from checkpoints, and from the CLIP it begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slip.errors import UsageError
from slip.models.checkpoint import WithoutDraws, load_strictly, read_checkpoint
from slip.models.clip import read_clip
from slip.models.cris.config import CrisConfig
from slip.models.cris.network import Cris
from slip.types import Progress

SMALL = {"image_size": 192, "words": 17, "width": 96, "heads": 4, "hidden": 384, "dropout": 0.0}
"""Sizes of a CRIS that is trained on a CPU, upon the built-in CLIP or one like it."""
NARROW = 64
"""A ModifiedResNet of less than this width, RN50's, carries a small one."""
BASE = ("RN50", "openai")
"""The CLIP that CRIS was published upon."""


def load_cris(path: Path) -> Cris:
    """The network of a checkpoint. Raises WeightsError."""
    told, state = read_checkpoint(path, "cris")
    config = CrisConfig.from_json(told)
    with WithoutDraws():
        network = Cris(config)
    load_strictly(network, state, path, "the CRIS of its configuration")
    return network.eval()


def begin_cris(
    clip: str, weights: str | None, image_size: int | None = None, progress: Progress | None = None
) -> Cris:
    """A CRIS whose encoders are those of a CLIP; the rest is random.

    clip: ``tiny`` for a small one, or as ``load_encoder`` takes it; ``base`` is RN50 with OpenAI's weights.
    image_size: side of the pictures; None for what suits.

    Raises UsageError for a CLIP without a ModifiedResNet and for sizes that are no multiple of 32,
    WeightsError.
    """
    if clip == "base":
        clip, weights = BASE[0], weights or BASE[1]
    told, model = read_clip(clip, weights, progress)
    if not isinstance(told["vision_cfg"].get("layers"), (list, tuple)):
        raise UsageError(
            f"CLIP {clip} has no ModifiedResNet, which CRIS needs; start from base, RN50, RN101 or tiny"
        )
    sizes: dict[str, Any] = SMALL if told["vision_cfg"]["width"] < NARROW else {}
    config = CrisConfig(told, **sizes)
    try:
        config.check()
    except (LookupError, TypeError, ValueError) as error:
        raise UsageError(f"CRIS cannot be built upon CLIP {clip}: {error}; start from base or tiny") from None
    network = Cris(config if image_size is None else config.at(image_size))
    network.encoders.clip.load_state_dict(model.state_dict())
    return network
