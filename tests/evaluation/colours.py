"""A whole evaluation in small: colours on black, a segmenter that finds them, a judge that names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from fakes import ColourSet, FakeEncoder, FakeJudge, FakeProposer

from slip.data.composites import plan_composites
from slip.evaluation.journal import Journal
from slip.evaluation.loop import Entrant, Judge, evaluate
from slip.evaluation.trials import Trial
from slip.options import EvalOptions
from slip.pipeline.crops import crop_views
from slip.pipeline.slip import Slip
from slip.types import Image, Segment

OPTIONS = EvalOptions(count=3, tile=16)


def crop(image: Image, segments: Sequence[Segment], size: int) -> Image:
    return crop_views(image, segments, "black", size)


class Stubborn(FakeEncoder):
    """Takes every text for red."""

    def encode_text(self, texts: Sequence[str]) -> Any:
        return super().encode_text(["red"] * len(texts))


def entrant(name: str, encoder: FakeEncoder | None = None, **more: Any) -> Entrant:
    return Entrant(name, Slip(FakeProposer(), encoder or FakeEncoder(), view="black"), **more)


JUDGE = Judge(FakeJudge(), crop)


def note(
    names: Sequence[str],
    options: EvalOptions = OPTIONS,
    classes: Sequence[str] | None = ("red", "green", "blue", "white"),
    **about: object,
) -> dict[str, Any]:
    """What ``run.json`` would hold."""
    plain = {"built_in": False, "finetuned": False, "template": "{}", "weights": "0"}
    return {
        **asdict(options),
        "data": "colours",
        "pictures": 12,
        "classes": 4,
        "sam": {"name": "fake-sam", "built_in": False},
        "models": [{"name": name, **plain, **about} for name in names],
        "split": {"side": "all"},
        "judge": {"name": "fake-judge", "classes": list(classes)} if classes else None,
    }


def measured(
    folder: Path,
    entrants: Sequence[Entrant],
    judge: Judge | None = JUDGE,
    options: EvalOptions = OPTIONS,
    source: ColourSet | None = None,
    run: Mapping[str, Any] | None = None,
) -> list[Trial]:
    source = source or ColourSet()
    plans = plan_composites(source.pictures, options)
    journal = Journal.open(folder, run or {})
    return evaluate(plans, source, options, entrants, judge, journal)


def black(*_: object) -> np.ndarray:
    return np.zeros((16, 16, 3), np.uint8)
