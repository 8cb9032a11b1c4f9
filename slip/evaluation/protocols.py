"""How trials are counted: as they should be, and as the paper's published notebooks counted them.

``paper`` keeps three defects of the published evaluation (arXiv 2405.07284), to show where its
figures come from. The pretrained run looked at one prompt of each composite, the last, and counted
four: 61 right of 100 became 61 of 400, 15.25 %, and no more than 25 % could have been had. The
fine-tuned run, 279 of 400, exchanged red and blue in the crops that CLIP ranked. Labels were compared
as written, so that prompts such as "Mr. Mime" could never match the judge's folder "MrMime".

A composite's verdicts are four booleans, in the order of its tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slip.data.composites import TILES
from slip.evaluation.paired import Paired, compare
from slip.types import Encoder, Features, Image

Verdicts = Sequence[Sequence[bool]]
"""A row a composite, a value a tile."""


@dataclass(frozen=True)
class Reading:
    """A share as published: ``right`` of ``counted``, though only ``scored`` were looked at."""

    right: int
    counted: int
    scored: int

    @property
    def share(self) -> float:
        """The published figure, 0 to 1."""
        return self.right / self.counted

    @property
    def ceiling(self) -> float:
        """What a model that is always right would get."""
        return self.scored / self.counted


@dataclass(frozen=True)
class SameTiles:
    """Two models on the last tile of every composite, where both published runs were scored."""

    first_right: int
    second_right: int
    paired: Paired


def read_pretrained(verdicts: Verdicts) -> Reading:
    """The last prompt of each composite alone is scored, and all are counted."""
    return Reading(sum(_last(verdicts)), TILES * len(verdicts), len(verdicts))


def read_finetuned(verdicts: Verdicts) -> Reading:
    """Every prompt is scored and counted."""
    right = sum(sum(row) for row in verdicts)
    return Reading(right, TILES * len(verdicts), TILES * len(verdicts))


def same_last_tiles(first: Verdicts, second: Verdicts) -> SameTiles:
    """What the two published runs have in common: the last tile of every composite."""
    ours, theirs = _last(first), _last(second)
    return SameTiles(sum(ours), sum(theirs), compare(zip(ours, theirs, strict=True)))


def _last(verdicts: Verdicts) -> list[bool]:
    return [row[-1] for row in verdicts]


class RedBlueSwapped:
    """An encoder that is shown its crops with red and blue exchanged."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self.image_size = encoder.image_size
        self.logit_scale = encoder.logit_scale

    def encode_images(self, crops: Image) -> Features:
        """``uint8 (N, S, S, 3)`` RGB, looked at as if it were BGR, to ``float32 (N, D)``."""
        return self.encoder.encode_images(np.ascontiguousarray(crops[..., ::-1]))

    def encode_text(self, texts: Sequence[str]) -> Features:
        """As the encoder does."""
        return self.encoder.encode_text(texts)
