"""Text-prompted segmentation: SAM proposes, CLIP chooses.

>>> from slip import Slip
>>> mask = Slip.load("tiny").segment("scene.png", "a blue striped bird").best.mask
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slip.errors import (
        ImageError,
        NoMatch,
        OutputError,
        SlipError,
        SlipWarning,
        UsageError,
        WeightsError,
    )
    from slip.pipeline.part_finder import load_parts
    from slip.pipeline.slip import Slip
    from slip.types import Box, Prediction, Proposals, Segment

__version__ = "0.1.0"

_HOME = {
    "Slip": "slip.pipeline.slip",
    "load_parts": "slip.pipeline.part_finder",
    **dict.fromkeys(("Box", "Prediction", "Proposals", "Segment"), "slip.types"),
    **dict.fromkeys(
        ("ImageError", "NoMatch", "OutputError", "SlipError", "SlipWarning", "UsageError", "WeightsError"),
        "slip.errors",
    ),
}

__all__ = [
    "Box",
    "ImageError",
    "NoMatch",
    "OutputError",
    "Prediction",
    "Proposals",
    "Segment",
    "Slip",
    "SlipError",
    "SlipWarning",
    "UsageError",
    "WeightsError",
    "load_parts",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import slip`` and ``slip --help`` stay light."""
    if name not in _HOME:
        raise AttributeError(f"module 'slip' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
