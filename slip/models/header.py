"""What a SLIP checkpoint says of itself, read without torch and without its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from slip.errors import WeightsError

Kind = Literal["sam", "clip", "simple_clip", "resnet18", "cris", "clipseg", "maskrcnn"]

ASSETS = Path(__file__).parent.parent / "assets"


def built_in(kind: Kind) -> Path:
    """The checkpoint of ``--preset tiny``."""
    return ASSETS / f"{kind}_tiny.safetensors"


def kind_of(path: Path) -> str | None:
    """What network a SLIP checkpoint holds; None for another safetensors file. Raises WeightsError."""
    return read_metadata(path).get("slip")


def read_config(path: Path, kind: Kind) -> dict[str, Any]:
    """The configuration of a SLIP checkpoint.

    Raises WeightsError: missing, damaged, of another kind, not a SLIP checkpoint.
    """
    metadata = read_metadata(path)
    if metadata.get("slip") != kind:
        held = f"a {metadata['slip']} checkpoint" if "slip" in metadata else "no SLIP checkpoint"
        raise WeightsError(f"{path} is {held}; expected a {kind} checkpoint with its configuration inside")
    try:
        config = json.loads(metadata["config"])
    except (KeyError, ValueError):
        config = None
    if not isinstance(config, dict):
        raise WeightsError(f"{path} is damaged: its configuration cannot be read")
    return config


def read_training(path: Path) -> dict[str, Any] | None:
    """What a SLIP checkpoint was trained on: classes, caption, data, split, loss, metrics; None if not told.

    Raises WeightsError for a file that is missing or damaged.
    """
    told = read_metadata(path).get("training")
    try:
        training = json.loads(told) if told is not None else None
    except ValueError:
        training = told
    if training is not None and not isinstance(training, dict):
        raise WeightsError(f"{path} is damaged: what it was trained on cannot be read")
    return training


def read_metadata(path: Path) -> dict[str, str]:
    """The texts at the head of a safetensors file. Raises WeightsError: missing, damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        remedy = "install slip again" if path.parent == ASSETS else "check the path"
        raise WeightsError(f"no checkpoint at {path}; {remedy}")
    try:
        with safe_open(path, "np") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is damaged or no safetensors file: {error}") from None
