"""Networks behind the protocols of slip.types. Importing this imports none of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from slip.models.checks import (
    check_encoder,
    check_options,
    check_proposer,
    clip_name,
    is_own_clip,
    named_clip,
    named_result,
    sam_name,
)
from slip.models.header import kind_of
from slip.models.identity import encoder_identity, proposer_identity
from slip.models.late import LateDenseEncoder, LateEncoder, LateProposer, unchanged
from slip.models.scoring import check_scoring, scoring_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from slip.device import Compute
    from slip.options import PartNetwork, ProposeOptions, ProposerName
    from slip.types import Classifier, Encoder, Progress, Proposer, Segmenter

__all__ = [
    "check_encoder",
    "check_options",
    "check_proposer",
    "check_scoring",
    "encoder_identity",
    "late_encoder",
    "late_proposer",
    "load_classifier",
    "load_encoder",
    "load_proposer",
    "load_segmenter",
    "named_clip",
    "named_result",
    "proposer_identity",
    "scoring_of",
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
    from slip.models.sam import load_sam
    from slip.models.sam.proposer import SamProposer
    from slip.models.sam.reference import ReferenceProposer

    kind = ReferenceProposer if proposer == "reference" else SamProposer
    return kind(load_sam(sam, progress), options, compute, sam_name(sam))


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
    if _is_simple(clip):
        from slip.models.simple_clip import load_simple_clip

        return load_simple_clip(Path(clip), compute)
    from slip.models.clip import ClipEncoder, load_clip

    return ClipEncoder(load_clip(clip, clip_weights, progress), compute, clip_name(clip, clip_weights))


def late_proposer(
    sam: str,
    options: ProposeOptions,
    compute: Compute,
    progress: Progress | None = None,
    proposer: ProposerName = "fast",
    *,
    identity: str | None = None,
) -> LateProposer:
    """``load_proposer``, put off until it is asked something.

    identity: what ``proposer_identity`` told of it; asking it raises WeightsError where that has changed.

    Raises UsageError as ``check_proposer`` does.
    """
    check_proposer(sam, options, proposer)
    name = sam_name(sam)
    load: Callable[[], Proposer] = partial(load_proposer, sam, options, compute, progress, proposer)
    if identity is not None:
        identify = partial(proposer_identity, sam, options, compute, proposer, progress)
        load = unchanged(load, name, identify, identity)
    return LateProposer(name, options.points == "guided", load, progress)


def late_encoder(
    clip: str,
    clip_weights: str | None,
    compute: Compute,
    progress: Progress | None = None,
    *,
    identity: str | None = None,
) -> LateEncoder:
    """``load_encoder``, put off until it is asked something.

    identity: what ``encoder_identity`` told of it; asking it raises WeightsError where that has changed.

    Raises UsageError as ``check_encoder`` does, WeightsError for a checkpoint that is damaged at its head.
    """
    clip = named_clip(clip)
    check_encoder(clip, clip_weights)
    name = clip_name(clip, clip_weights)
    kind = LateEncoder if _is_simple(clip) else LateDenseEncoder
    load: Callable[[], Encoder] = partial(load_encoder, clip, clip_weights, compute, progress)
    if identity is not None:
        identify = partial(encoder_identity, clip, clip_weights, compute, progress)
        load = unchanged(load, name, identify, identity)
    return kind(name, load, progress)


def _is_simple(clip: str) -> bool:
    """Whether a CLIP is a checkpoint of the paper's dual encoder. Raises WeightsError for a damaged one."""
    return clip != "tiny" and is_own_clip(clip) and kind_of(Path(clip)) == "simple_clip"


def load_classifier(path: Path, compute: Compute) -> Classifier:
    """The judge of a checkpoint. Raises WeightsError."""
    from slip.models.resnet18 import load_judge

    return load_judge(path, compute)


def load_segmenter(
    method: PartNetwork,
    weights: str,
    compute: Compute,
    progress: Progress | None = None,
    *,
    detections: bool = False,
) -> Segmenter:
    """A network of parts, as ``slip finetune --method`` writes it; ``weights``: its path, suffix or not.

    detections: of ``maskrcnn``, one that answers every prompt with its best detections, whatever they are.

    Raises UsageError for an unknown method, WeightsError.
    """
    path = named_result(weights, method)
    if progress:
        progress("load models", 0, 1)
    segmenter: Segmenter
    if method == "cris":
        from slip.models.cris.load import load_cris
        from slip.models.cris.segmenter import CrisSegmenter

        segmenter = CrisSegmenter(load_cris(path), compute, path.name)
    elif method == "clipseg":
        from slip.models.clipseg import load_clipseg

        segmenter = load_clipseg(path, compute)
    else:
        from slip.models.detections import load_maskrcnn

        segmenter = load_maskrcnn(path, compute, detections=detections)
    if progress:
        progress("load models", 1, 1)
    return segmenter
