"""What is to be used, and whether it can be: told before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from slip.errors import UsageError
from slip.options import PRESETS, Overlap, Preset, Scoring, View


def choose_models(
    preset: str, *, sam: str | None = None, clip: str | None = None, clip_weights: str | None = None
) -> Preset:
    """The models of a preset, with others in their place where given.

    Raises UsageError for an unknown preset, and for another CLIP architecture without weights:
    those of the preset would not fit it.
    """
    from slip.models import named_clip

    base = {str(name): models for name, models in PRESETS.items()}.get(preset)
    if base is None:
        raise UsageError(f"preset {preset!r} is not known; choose from {', '.join(PRESETS)}")
    clip = clip and named_clip(clip)
    if clip in (None, base.clip):
        return replace(base, sam=sam or base.sam, clip_weights=clip_weights or base.clip_weights)
    if clip_weights is None and not _brings_weights(clip):
        raise UsageError(f"CLIP {clip!r} needs weights; name a tag or a path with --clip-weights")
    return replace(base, sam=sam or base.sam, clip=clip, clip_weights=clip_weights)


def how_scored(
    clip: str,
    templates: Sequence[str] | None = None,
    negatives: Sequence[str] = (),
    min_score: float | None = None,
) -> Scoring:
    """The scoring stored with a CLIP, but for what is given. Raises UsageError, WeightsError."""
    from slip.models import check_scoring, scoring_of

    stored = scoring_of(clip)
    scoring = replace(
        stored,
        templates=stored.templates if templates is None else tuple(templates),
        negatives=(*stored.negatives, *negatives),
        min_score=stored.min_score if min_score is None else min_score,
    )
    check_scoring(scoring)
    return scoring


def _brings_weights(clip: str) -> bool:
    """Whether ``clip`` is built in or a checkpoint, rather than an architecture."""
    return clip == "tiny" or Path(clip).suffix != "" or Path(clip).is_file()


def check_prompt(prompt: str) -> None:
    """Raise UsageError for a prompt that is empty, no text, or text that is no Unicode."""
    if not isinstance(prompt, str):
        raise UsageError(f"the prompt is {type(prompt).__name__}, not text; rank several prompts one by one")
    if not prompt.strip():
        raise UsageError('the prompt is empty; say what to look for, as in "a striped bird"')
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise UsageError(f"the prompt {prompt!r} is not Unicode text; write it in UTF-8") from None


def check_choices(overlap: Any, view: Any) -> None:
    """Raise UsageError for an overlap filter or a view that is not known."""
    for name, value, choices in (("overlap", overlap, get_args(Overlap)), ("view", view, get_args(View))):
        if value not in choices:
            raise UsageError(f"{name} {value!r} is not known; choose from {', '.join(choices)}")
