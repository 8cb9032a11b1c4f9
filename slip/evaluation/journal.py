"""The trials of an evaluation on disk, so that one that was broken off goes on.

A folder holds ``run.json``, what decides the results, and ``trials.jsonl``, a line a trial.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slip.data.composites import TILES
from slip.errors import OutputError, UsageError
from slip.evaluation.trials import Trial
from slip.outputs import append_file, write_file

RUN, TRIALS = "run.json", "trials.jsonl"


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
        wanted = json.loads(json.dumps(run))
        check_folder(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(folder, error) from None
        if (folder / RUN).exists():
            _check_same(_read_run(folder), wanted, folder)
        else:
            write_file(folder / RUN, (json.dumps(wanted, indent=2) + "\n").encode(), overwrite=False)
        return cls(folder, wanted, _read_trials(folder / TRIALS))

    @property
    def paths(self) -> list[Path]:
        """Its two files."""
        return [self.folder / RUN, self.folder / TRIALS]

    def holds(self, composite: int, model: str, swapped: bool) -> bool:
        """Whether the trials of a model on a composite are there."""
        return (composite, model, swapped) in self._held

    def add(self, trials: Sequence[Trial]) -> None:
        """Append the trials of one model on one composite. Raises OutputError; then none is added."""
        lines = "".join(json.dumps(trial.to_json()) + "\n" for trial in trials).encode()
        append_file(self.folder / TRIALS, lines)
        self.trials += trials
        self._held |= {(trial.composite, trial.model, trial.swapped) for trial in trials}


def check_folder(folder: Path) -> None:
    """Raise UsageError for what is no folder, or one that holds anything but an evaluation; OutputError."""
    try:
        held = [path.name for path in folder.iterdir() if path.suffix != ".part"]
    except FileNotFoundError:
        return
    except NotADirectoryError:
        if folder.exists():
            raise UsageError(f"{str(folder)!r} is a file; name a folder with -o") from None
        held = []
    except OSError as error:
        raise _unusable(folder, error) from None
    if held and RUN not in held:
        raise UsageError(f"{str(folder)!r} is not empty and holds no evaluation; name another folder with -o")


def _read_run(folder: Path) -> dict[str, Any]:
    try:
        held = json.loads((folder / RUN).read_bytes())
    except (OSError, ValueError):
        held = None
    if not isinstance(held, dict):
        raise UsageError(f"{str(folder / RUN)!r} cannot be read; name another folder with -o")
    return held


def _check_same(held: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    differing = [name for name in {**wanted, **held} if held.get(name) != wanted.get(name)]
    if differing:
        told = "; ".join(
            f"{name} {_told(held.get(name))}, not {_told(wanted.get(name))}" for name in differing
        )
        raise UsageError(
            f"{str(folder)!r} holds an evaluation with {told}; give the same, or name another folder with -o"
        )


def _told(value: Any) -> str:
    """A value for a message, cut short."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_trials(path: Path) -> list[Trial]:
    """The trials of a file; those of a composite that were cut off are taken off it.

    Raises UsageError for a file that holds anything else, OutputError.
    """
    try:
        data = path.read_bytes()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        whole = lines[: len(lines) // TILES * TILES]
        if (length := sum(map(len, whole))) < len(data):
            os.truncate(path, length)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        return [Trial.from_json(json.loads(line)) for line in whole]
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{str(path)!r} is damaged; remove it to measure anew, or name another folder"
        ) from None


def _unusable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot use {str(path)!r}: {error.strerror or error}; name another folder with -o")
