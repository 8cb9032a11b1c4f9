"""The trials of an evaluation on disk, so that one that was broken off goes on.

A folder holds ``run.json``, what decides the results, and ``trials.jsonl``, a line a trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slip.data.composites import TILES
from slip.evaluation.folder import RUN, add_records, begin, check_folder, read_records
from slip.evaluation.trials import Trial

__all__ = ["RUN", "TRIALS", "Journal", "check_folder"]

TRIALS = "trials.jsonl"


class Journal:
    """What has been measured so far. Lines are only ever added, and those of a composite together."""

    def __init__(self, folder: Path, run: dict[str, Any], trials: list[Trial]) -> None:
        self.folder = folder
        self.run = run
        self.trials = trials
        self._held = {(trial.composite, trial.model, trial.swapped) for trial in trials}

    @classmethod
    def open(cls, folder: Path, run: Mapping[str, Any]) -> Journal:
        """Begin in a new or empty folder, or go on with the same ``run`` (JSON).

        Raises UsageError for a folder that holds anything else, or the trials of another run;
        OutputError.
        """
        wanted = begin(folder, run)
        return cls(folder, wanted, read_records(folder / TRIALS, Trial.from_json, TILES))

    @property
    def paths(self) -> list[Path]:
        """Its two files."""
        return [self.folder / RUN, self.folder / TRIALS]

    def holds(self, composite: int, model: str, swapped: bool) -> bool:
        """Whether the trials of a model on a composite are there."""
        return (composite, model, swapped) in self._held

    def add(self, trials: Sequence[Trial]) -> None:
        """Append the trials of one model on one composite. Raises OutputError; then none is added."""
        add_records(self.folder / TRIALS, [trial.to_json() for trial in trials])
        self.trials += trials
        self._held |= {(trial.composite, trial.model, trial.swapped) for trial in trials}
