"""Batches of boxes in plain colours on black, searched by stand-ins."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from fakes import COLOURS, FakeEncoder, FakeProposer

from slip.batch.job import Job
from slip.batch.journal import Existing, Results
from slip.batch.run import run
from slip.batch.sources import Task, find_tasks
from slip.batch.work import Outcome
from slip.options import Scoring
from slip.pipeline.slip import Slip
from slip.types import Image, Prediction


def drawing(*colours: str) -> bytes:
    """A PNG with a box of each colour."""
    pixels = np.zeros((20, 12 * len(colours) + 4, 3), np.uint8)
    for place, colour in enumerate(colours):
        pixels[4:16, 12 * place + 4 : 12 * place + 12] = COLOURS[colour]
    out = io.BytesIO()
    PIL.Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def draw(folder: Path, **pictures: str) -> Path:
    """Pictures in a folder, by their names: ``sub__a="red blue"`` is sub/a.png."""
    for name, colours in pictures.items():
        path = folder / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawing(*colours.split()))
    return folder


class Colours:
    """A segmenter that finds colours and counts its searches; a colour that is not there scores below."""

    def __init__(self) -> None:
        scoring = Scoring(negatives=("red", "green", "blue"), min_score=0.9)
        self.slip = Slip(FakeProposer(), FakeEncoder(), scoring=scoring)
        self.asked: list[tuple[str, ...]] = []

    def segment(self, image: Image, prompt: str) -> Prediction:
        return self.segment_each(image, [prompt])[0]

    def segment_each(self, image: Image, prompts: Sequence[str]) -> list[Prediction]:
        self.asked.append(tuple(prompts))
        return self.slip.segment_each(image, prompts)


def work_through(
    job: Job, tasks: Sequence[Task], existing: Existing = "resume", **options: Any
) -> tuple[Colours, list[Outcome]]:
    """Run a batch; returns the segmenter and what was told."""
    segmenter, told = Colours(), []
    results = Results.open(job, tasks, existing)
    try:
        run(results.pending, segmenter, job, results, told.append, **options)
    finally:
        results.close()
    return segmenter, told


def tasks_of(job: Job, *given: str | Path, prompts: Sequence[str] = ("red",)) -> list[Task]:
    return find_tasks([str(name) for name in given], prompts, output=job.folder)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def files(folder: Path) -> list[str]:
    """What a folder holds, hidden files left out."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )
