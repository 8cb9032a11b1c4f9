"""Networks behind the protocols of slip.types. Importing this imports none of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slip.models.checks import check_encoder, check_options, check_proposer, is_own_clip, named_clip

if TYPE_CHECKING:
    from slip.device import Compute
    from slip.options import ProposeOptions, ProposerName
    from slip.types import Classifier, Encoder, Progress, Proposer

__all__ = [
    "check_encoder",
    "check_options",
    "check_proposer",
    "load_classifier",
    "load_encoder",
    "load_proposer",
    "named_clip",
]


def load_proposer(
    sam: str,
    options: ProposeOptions,
    compute: Compute,
    progress: Progress | None = None,
    proposer: ProposerName = "fast",
) -> Proposer:
    """SAM as a proposer; ``sam`` is ``tiny``, ``vit_b``, ``vit_l``, ``vit_h`` or a checkpoint's path.

    Raises UsageError for unknown names and, once SAM is loaded, for options out of range (tell them
    earlier by ``check_proposer``), WeightsError.
    """
    from slip.models.sam import load_sam, name_of
    from slip.models.sam.proposer import SamProposer
    from slip.models.sam.reference import ReferenceProposer

    kind = ReferenceProposer if proposer == "reference" else SamProposer
    return kind(load_sam(sam, progress), options, compute, name_of(sam))


def load_encoder(
    clip: str, clip_weights: str | None, compute: Compute, progress: Progress | None = None
) -> Encoder:
    """CLIP as an encoder.

    clip: ``tiny``, the path of a SLIP checkpoint, with or without its suffix, which may also hold
    the paper's dual encoder; or an open_clip architecture.
    clip_weights: for an architecture, a tag of the catalogue or a path; else None.

    Raises UsageError for unknown names, WeightsError.
    """
    clip = named_clip(clip)
    check_encoder(clip, clip_weights)
    if clip != "tiny" and is_own_clip(clip):
        from slip.models.checkpoint import kind_of

        if kind_of(Path(clip)) == "simple_clip":
            from slip.models.simple_clip import load_simple_clip

            return load_simple_clip(Path(clip), compute)
    from slip.models.clip import ClipEncoder, load_clip, name_of

    return ClipEncoder(load_clip(clip, clip_weights, progress), compute, name_of(clip, clip_weights))


def load_classifier(path: Path, compute: Compute) -> Classifier:
    """The judge of a checkpoint. Raises WeightsError."""
    from slip.models.resnet18 import load_judge

    return load_judge(path, compute)
