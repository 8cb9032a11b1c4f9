"""How the similarities of a CLIP become scores: what was found out for it, and where that is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from slip.errors import UsageError, WeightsError
from slip.models.checks import is_own_clip, named_clip
from slip.options import OWN_SCORING, SCORING, Scoring


def scoring_of(clip: str) -> Scoring:
    """The scoring stored with a CLIP; that of published ones for an architecture.

    A checkpoint that stores none gets the bare similarity, at which every segment passes.
    Raises WeightsError for a checkpoint that is missing or damaged.
    """
    clip = named_clip(clip)
    if clip in OWN_SCORING:
        return OWN_SCORING[clip]
    if not is_own_clip(clip):
        return SCORING
    from slip.models.header import read_training

    told = (read_training(Path(clip)) or {}).get("scoring")
    return Scoring() if told is None else from_json(told, Path(clip))


def to_json(scoring: Scoring) -> dict[str, Any]:
    """What ``training`` of a checkpoint stores under ``scoring``."""
    return asdict(scoring)


def from_json(told: Any, path: Path) -> Scoring:
    """The scoring that ``to_json`` wrote. Raises WeightsError for anything else."""
    if isinstance(told, Mapping):
        try:
            texts = {name: _texts(told[name]) for name in ("templates", "negatives")}
            numbers = {name: float(told[name]) for name in ("floor", "presence", "prior", "min_score")}
            scoring = Scoring(**texts, **numbers)  # type: ignore[arg-type]
            check_scoring(scoring)
        except (KeyError, OverflowError, TypeError, ValueError, UsageError):
            pass
        else:
            return scoring
    raise WeightsError(f"{path} is damaged: how its similarities become scores cannot be read")


def _texts(told: Any) -> tuple[str, ...]:
    """A list of texts. Raises TypeError for anything else."""
    if not isinstance(told, list | tuple) or not all(isinstance(text, str) for text in told):
        raise TypeError(f"{told!r} is no list of texts")
    return tuple(told)


def check_scoring(scoring: Scoring) -> None:
    """Raise UsageError for templates without a place, blank negatives, and numbers out of range."""
    for template in scoring.templates:
        if "{}" not in template:
            raise UsageError(
                f"the template {template!r} has no place for the prompt; write {{}} where it goes"
            )
    if not scoring.templates:
        raise UsageError("no template is given; '{}' is the prompt as it is")
    if not all(text.strip() for text in scoring.negatives):
        raise UsageError("a negative is empty; say what a segment may show instead")
    for name in ("min_score", "presence"):
        if not 0 <= getattr(scoring, name) <= 1:
            raise UsageError(f"{name} is {getattr(scoring, name)}; give 0 to 1")
    for name in ("floor", "prior"):
        if not isfinite(getattr(scoring, name)):
            raise UsageError(f"{name} is {getattr(scoring, name)}; give a number")
