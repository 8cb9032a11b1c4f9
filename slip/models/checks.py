"""What can be told of a wish before anything is fetched, read or, as a rule, imported."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from slip.errors import UsageError, WeightsError
from slip.models.header import Kind, kind_of
from slip.options import PROPOSER, Points, ProposeOptions, ProposerName
from slip.weights import catalogue

SUFFIX = ".safetensors"
"""Of SLIP's own checkpoints."""


def check_proposer(sam: str, options: ProposeOptions, proposer: ProposerName = PROPOSER) -> None:
    """Raise UsageError for a SAM that is neither a model nor a file, and as ``check_options`` does."""
    check_sam(sam)
    check_options(options, proposer)


def check_sam(sam: str) -> None:
    """Raise UsageError for what is neither a name nor a file."""
    if not is_named_sam(sam) and not is_file(sam):
        names = [name.removeprefix("sam/") for name in catalogue() if name.startswith("sam/")]
        raise UsageError(
            f"SAM {sam!r} is neither a model nor a file; "
            f"choose {', '.join(['tiny', *names])} or a checkpoint's path"
        )


def check_options(options: ProposeOptions, proposer: ProposerName = PROPOSER) -> None:
    """Raise UsageError for an option out of its range, or that the proposer does not have."""
    if options.points not in (known := get_args(Points)):
        raise UsageError(f"points cannot be {options.points!r}; choose {', '.join(known)}")
    if proposer not in (known := get_args(ProposerName)):
        raise UsageError(f"proposer cannot be {proposer!r}; choose {', '.join(known)}")
    if proposer == "reference" and options.points != "exhaustive":
        raise UsageError(
            f"the reference proposer asks every point, not {options.points} ones; "
            "choose points exhaustive or proposer fast"
        )
    if not 1 <= options.points_per_side <= 256:
        raise UsageError(f"points_per_side cannot be {options.points_per_side}; choose 1 to 256")
    if options.points_per_batch is not None and options.points_per_batch < 1:
        raise UsageError(f"points_per_batch cannot be {options.points_per_batch}; choose 1 or more")
    for name in ("pred_iou_thresh", "stability_thresh"):
        if not 0 <= (value := getattr(options, name)) <= 1:
            raise UsageError(f"{name} cannot be {value}; choose 0 to 1")


def check_encoder(clip: str, clip_weights: str | None) -> None:
    """Raise UsageError for a CLIP that is not known, and for weights that it does not have or need.

    Imports open_clip for architectures that are not in the catalogue.
    """
    clip = named_clip(clip)
    if is_own_clip(clip):
        if clip_weights is not None:
            raise UsageError(f"CLIP {clip} brings its weights; leave out {clip_weights!r}")
        return
    tags = [name.rpartition("/")[2] for name in catalogue() if name.startswith(f"clip/{clip}/")]
    if not tags:
        from slip.models.clip import architecture

        architecture(clip)
    if clip_weights is None or not (clip_weights in tags or is_file(clip_weights)):
        said = "needs weights" if clip_weights is None else f"has no weights {clip_weights!r}"
        raise UsageError(f"CLIP {clip} {said}; choose {', '.join([*tags, 'the path of a file'])}")


def named_clip(clip: str) -> str:
    """What a CLIP is loaded by: ``NAME`` is ``NAME.safetensors`` where that alone is a file.

    What the built-in CLIP or one of the catalogue is called stays its name.
    """
    path = f"{clip}{SUFFIX}"
    is_name = clip == "tiny" or any(name.startswith(f"clip/{clip}/") for name in catalogue())
    return clip if is_name or is_file(clip) or not is_file(path) else path


def named_result(name: str, kind: Kind) -> Path:
    """The checkpoint of a network that was trained here; its suffix may be left out.

    A file with another suffix is given as it is. Raises WeightsError where there is none, or one of
    another kind.
    """
    path = Path(name if is_file(name) else f"{name}{SUFFIX}")
    if not is_file(str(path)):
        raise WeightsError(
            f"there are no weights at {name}; check the path, or make some with slip finetune --method {kind}"
        )
    if path.suffix == SUFFIX and (held := kind_of(path)) != kind:
        raise WeightsError(f"{path} is {f'a {held}' if held else 'no SLIP'} checkpoint; give one of {kind}")
    return path


def is_named_sam(sam: str) -> bool:
    """Whether ``sam`` is the built-in SAM or one of the catalogue, rather than a path."""
    return sam == "tiny" or f"sam/{sam}" in catalogue()


def is_own_clip(clip: str) -> bool:
    """Whether ``clip`` is the built-in CLIP or a SLIP checkpoint, rather than an architecture."""
    return clip == "tiny" or (Path(clip).suffix == SUFFIX and is_file(clip))


def sam_name(sam: str) -> str:
    """What a SAM is called in results."""
    return f"sam/{sam}" if is_named_sam(sam) else Path(sam).name


def clip_name(clip: str, weights: str | None) -> str:
    """What a CLIP and its weights are called in results."""
    if weights is None:
        return "clip/tiny" if clip == "tiny" else Path(clip).name
    name = f"clip/{clip}/{weights}"
    return name if name in catalogue() else f"clip/{clip}/{Path(weights).name}"


def is_file(path: str) -> bool:
    """Whether there is a file; False also for what cannot be a path."""
    try:
        return Path(path).is_file()
    except OSError:
        return False
