"""The answers of an evaluation on disk, so that one that was broken off goes on.

A folder holds ``run.json``, what decides the results, ``answers.jsonl``, a line an answer, and
``seconds.jsonl``, how long each method took over each picture: what no two runs have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slip.evaluation.folder import RUN, add_records, begin, read_records
from slip.evaluation.referring.answers import Answer

ANSWERS, SECONDS = "answers.jsonl", "seconds.jsonl"


@dataclass(frozen=True)
class Seconds:
    """How long a method took to answer all expressions of a picture."""

    method: str
    picture: str
    seconds: float

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Seconds:
        """Of a line's values. Raises TypeError, ValueError for others."""
        return cls(**{**told, "seconds": float(told["seconds"])})


class Journal:
    """What has been answered so far. Lines are only ever added."""

    def __init__(
        self, folder: Path, run: dict[str, Any], answers: list[Answer], seconds: list[Seconds]
    ) -> None:
        self.folder = folder
        self.run = run
        self.answers = answers
        self.seconds = seconds
        self._held = {(one.method, *one.key) for one in answers}

    @classmethod
    def open(cls, folder: Path, run: Mapping[str, Any]) -> Journal:
        """Begin in a new or empty folder, or go on with the same ``run`` (JSON).

        Raises UsageError for a folder that holds anything else, or the answers of another run;
        OutputError.
        """
        wanted = begin(folder, run)
        answers = read_records(folder / ANSWERS, Answer.from_json)
        return cls(folder, wanted, answers, read_records(folder / SECONDS, Seconds.from_json))

    @property
    def paths(self) -> list[Path]:
        """Its files."""
        return [self.folder / name for name in (RUN, ANSWERS, SECONDS)]

    def holds(self, method: str, picture: str, part: str) -> bool:
        """Whether the answer of a method is there."""
        return (method, picture, part) in self._held

    def add(self, answers: Sequence[Answer]) -> None:
        """Append the answers of one method to one picture. Raises OutputError; then none is added."""
        add_records(self.folder / ANSWERS, [one.to_json() for one in answers])
        self.answers += answers
        self._held |= {(one.method, *one.key) for one in answers}

    def took(self, seconds: Seconds) -> None:
        """Append how long a method took. Raises OutputError."""
        add_records(self.folder / SECONDS, [asdict(seconds)])
        self.seconds.append(seconds)
