"""An evaluation in small: coloured boxes on black, and segmenters whose answers can be told beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fakes import HUES, FakeEncoder, FakeParts, FakeProposer, segment_from

from slip.data.parts import PartPicture
from slip.evaluation.referring.answers import Answer
from slip.evaluation.referring.journal import Journal
from slip.evaluation.referring.loop import Contender, evaluate
from slip.pipeline.slip import Slip
from slip.types import Image, Mask, Prediction

ABOUT = {
    "kind": "cris",
    "oracle": False,
    "built_in": False,
    "trained": None,
    "taught": [],
    "scoring": None,
    "weights": "0",
}


class Sees:
    """Finds the colour that the prompt ends with, but for ``missing`` columns at the left of its box.

    Where that leaves nothing, it finds nothing. A Segmenter.
    """

    def __init__(self, missing: int = 0, score: float | None = 0.75) -> None:
        self.missing, self.score = missing, score
        self.asked: list[tuple[str, ...]] = []

    def segment(self, image: Image, prompt: str) -> Prediction:
        return self.segment_each(image, [prompt])[0]

    def segment_each(self, image: Image, prompts: Sequence[str]) -> list[Prediction]:
        self.asked.append(tuple(prompts))
        return [self._answer(image, prompt) for prompt in prompts]

    def _answer(self, image: Image, prompt: str) -> Prediction:
        mask = (image == HUES[prompt.split()[-1]]).all(axis=2)
        columns = np.flatnonzero(mask.any(axis=0))
        mask[:, columns[: self.missing]] = False
        size = image.shape[0], image.shape[1]
        if not mask.any():
            return Prediction(prompt, (), size)
        segment = segment_from(mask)
        return Prediction(prompt, (segment if self.score is None else segment.scored(self.score),), size)


class Interrupted(Sees):
    """Ctrl-C at its third picture."""

    def segment_each(self, image: Image, prompts: Sequence[str]) -> list[Prediction]:
        if len(self.asked) == 2:
            raise KeyboardInterrupt
        return super().segment_each(image, prompts)


def slip() -> Slip:
    """Finds every colour, and takes each prompt for the first colour it names."""
    return Slip(FakeProposer(), FakeEncoder(), view="black")


def run_of(*names: str, **more: Any) -> dict[str, Any]:
    """What ``run.json`` would hold. more: of all methods."""
    methods = [{"name": name, **ABOUT, **more} for name in names]
    return {"slip": "1", "data": "toys", "side": "test", "sam": None, "methods": methods}


def measured(
    folder: Path,
    contenders: Sequence[Contender],
    source: FakeParts | None = None,
    pictures: Sequence[PartPicture] | None = None,
) -> list[Answer]:
    source = source or FakeParts()
    journal = Journal.open(folder, run_of(*(one.name for one in contenders)))
    return evaluate(source.pictures("test") if pictures is None else pictures, source, contenders, journal)


RIGHT = Answer(
    method="m",
    picture="test/00.png",
    part="toy red",
    expression="toy red",
    intersection=50,
    union=100,
    truth=80,
    iou=0.5,
    segments=3,
    score=0.75,
    box=(1, 2, 8, 8),
    rle={"size": [24, 32], "counts": "04"},
)
NOTHING = replace(RIGHT, intersection=0, union=80, iou=0.0, segments=0, score=None, box=None, rle=None)


def made(picture: str, part: str, both: int, union: int, method: str = "m") -> Answer:
    """An answer with so many pixels in common with the truth, and in either."""
    return replace(
        RIGHT,
        method=method,
        picture=picture,
        part=part,
        intersection=both,
        union=union,
        iou=both / (union + 1e-6),
    )


def naive_overlap(found: Mask, truth: Mask) -> tuple[int, int]:
    """Pixel by pixel: those in both masks, and those in either."""
    both = either = 0
    for row_found, row_truth in zip(found.tolist(), truth.tolist(), strict=True):
        for one, other in zip(row_found, row_truth, strict=True):
            both += one and other
            either += one or other
    return both, either
