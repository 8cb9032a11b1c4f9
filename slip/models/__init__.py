"""Networks behind the protocols of slip.types. Importing this imports none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slip.errors import UsageError

if TYPE_CHECKING:
    from slip.device import Compute
    from slip.options import ProposeOptions
    from slip.types import Encoder, Progress, Proposer


def load_proposer(
    sam: str, options: ProposeOptions, compute: Compute, progress: Progress | None = None
) -> Proposer:
    """SAM as a proposer; ``sam`` is ``tiny``, ``vit_b``, ``vit_l``, ``vit_h`` or a checkpoint's path.

    Raises UsageError for options out of range and unknown names, WeightsError.
    """
    from slip.models.sam import SamProposer, load_sam, name_of

    check_options(options)
    return SamProposer(load_sam(sam, progress), options, compute, name_of(sam))


def check_options(options: ProposeOptions) -> None:
    """Raise UsageError for an option out of its range."""
    if not 1 <= options.points_per_side <= 256:
        raise UsageError(f"points_per_side cannot be {options.points_per_side}; choose 1 to 256")
    if options.points_per_batch < 1:
        raise UsageError(f"points_per_batch cannot be {options.points_per_batch}; choose 1 or more")
    for name in ("pred_iou_thresh", "stability_thresh"):
        if not 0 <= (value := getattr(options, name)) <= 1:
            raise UsageError(f"{name} cannot be {value}; choose 0 to 1")


def load_encoder(
    clip: str, clip_weights: str | None, compute: Compute, progress: Progress | None = None
) -> Encoder:
    """CLIP as an encoder.

    clip: ``tiny``, the path of a SLIP checkpoint, or an open_clip architecture.
    clip_weights: for an architecture, a tag of the catalogue or a path; else None.

    Raises UsageError for unknown names, WeightsError.
    """
    from slip.models.clip import ClipEncoder, load_clip, name_of

    return ClipEncoder(load_clip(clip, clip_weights, progress), compute, name_of(clip, clip_weights))
