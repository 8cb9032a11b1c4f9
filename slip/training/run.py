"""The files of one training: what it was started with, how it goes, where to go on.

``NAME.safetensors`` is the result; the folder ``NAME.run`` beside it holds ``run.json`` (what
decides the result), ``checkpoint.pt`` (where to go on), ``metrics.jsonl`` (a line a step and a line
an epoch), ``split.csv`` and pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from slip.data.pictures import PictureSet
from slip.data.splits import Split, split_csv, trained_digest
from slip.errors import OutputError, UsageError
from slip.options import SplitOptions
from slip.outputs import remove_file, write_file
from slip.types import Proposer

Record = dict[str, Any]
SHOWN = ("curves.png", "confusion.png", "confusion.json", "unreadable.txt")
"""What a run's folder holds for people to look at."""


@dataclass(frozen=True)
class Run:
    """The files of the training whose result is ``out``."""

    out: Path

    @property
    def folder(self) -> Path:
        """Where all but the result lies."""
        return self.out.with_suffix(".run")

    @property
    def checkpoint(self) -> Path:
        """Where to go on."""
        return self.folder / "checkpoint.pt"

    @property
    def metrics(self) -> Path:
        """A JSON object a line: of a step, or of an epoch with its validation."""
        return self.folder / "metrics.jsonl"

    @property
    def segments(self) -> Path:
        """What a proposer found in the training pictures."""
        return self.folder / "segments.jsonl"

    def begin(
        self, config: Mapping[str, Any], parts: Split, *, resume: bool, overwrite: bool = False
    ) -> None:
        """Open the folder for a training described by ``config`` (JSON), with the split it uses.

        resume: go on with the run that is there; with ``overwrite``, or begin one.
        Raises UsageError where there is one already and it is not resumed, where there is none to
        resume, and where it was started with something else; OutputError.
        """
        wanted = json.loads(json.dumps(config))
        note = self.folder / "run.json"
        if resume and note.is_file():
            check_same(read_note(note), wanted, note)
            return
        if resume and not overwrite:
            raise UsageError(f"{str(self.folder)!r} holds no run to go on with; leave --resume out")
        self.check_free(overwrite=overwrite)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot write into {str(self.folder)!r}: {error.strerror or error}; choose another name"
            ) from None
        for old in (
            self.out,
            self.checkpoint,
            self.metrics,
            self.segments,
            *map(self.folder.joinpath, SHOWN),
        ):
            remove_file(old)
        write_file(self.folder / "split.csv", split_csv(parts), overwrite=True)
        write_file(note, (json.dumps(wanted, indent=2) + "\n").encode(), overwrite=True)

    def check_free(self, *, overwrite: bool) -> None:
        """Raise UsageError where a result or a run of this name exists and may not be replaced."""
        check_free(self.out, self.folder, overwrite=overwrite)

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the checkpoint, whole or not at all. Raises OutputError; the old one then stays."""
        part = self.checkpoint.with_suffix(".part")
        try:
            torch.save(dict(state), part)
            part.replace(self.checkpoint)
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            raise OutputError(
                f"cannot save {str(self.checkpoint)!r}: {_line(error)}; make room, then go on with --resume"
            ) from None

    def load(self) -> dict[str, Any] | None:
        """The checkpoint, on the CPU; None where there is none yet. Raises UsageError if damaged."""
        if not self.checkpoint.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception:  # whatever the restricted unpickler meets in a damaged file
            raise UsageError(
                f"{str(self.checkpoint)!r} is damaged and cannot be resumed; start anew with --overwrite"
            ) from None
        return state

    def log(self, record: Record) -> None:
        """Append a line to the metrics. Raises OutputError."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError(
                f"cannot write {str(self.metrics)!r}: {_line(error)}; make room, then go on with --resume"
            ) from None

    def rewind(self, step: int) -> None:
        """Forget what was logged after ``step``: it will be done again."""
        if not self.metrics.is_file():
            return
        kept = [line for line in self.metrics.read_text("utf-8").splitlines() if _step_of(line) <= step]
        write_file(self.metrics, "".join(f"{line}\n" for line in kept).encode(), overwrite=True)

    def records(self) -> list[Record]:
        """All lines of the metrics."""
        return [json.loads(line) for line in self.metrics.read_text("utf-8").splitlines()]


def check_free(*paths: Path, overwrite: bool) -> None:
    """Raise UsageError where one of the paths exists and may not be replaced."""
    for path in paths:
        if path.exists() and not overwrite:
            raise UsageError(
                f"{str(path)!r} exists; go on with --resume, replace it with --overwrite, "
                "or choose another name"
            )


def about(
    data: PictureSet,
    parts: Split,
    caption: str,
    held_out: SplitOptions,
    options: Mapping[str, Any],
    proposer: Proposer | None,
) -> Record:
    """What decides the result of a training, for its note and its checkpoint."""
    return {
        "data": data.name,
        "digest": data.digest,
        "classes": list(data.classes),
        "caption": caption,
        "split": asdict(held_out),
        "trained": trained_digest(parts.train),
        "options": dict(options),
        "segments": proposer.name if proposer else None,
    }


def _step_of(line: str) -> float:
    """The step that a line tells of; beyond all for a line that was cut off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def read_note(note: Path) -> dict[str, Any]:
    """What a training was started with. Raises UsageError for a file that is damaged or missing."""
    try:
        held = json.loads(note.read_bytes())
    except (OSError, ValueError):
        held = None
    if not isinstance(held, dict):
        raise UsageError(f"{str(note)!r} cannot be read; start anew with --overwrite")
    return held


def check_same(held: Mapping[str, Any], wanted: Mapping[str, Any], note: Path) -> None:
    """Raise UsageError where a training would go on with something else than it was started with."""
    where = f"the run in {str(note.parent)!r}"
    if told := "; ".join(_differences(held, wanted)):
        raise UsageError(f"{where} was started otherwise: {told}; give the same, or another name")
    if held.get("digest") != wanted.get("digest"):
        raise UsageError(
            f"the data set has changed since {where} was started; bring it back, or train under another name"
        )


def _differences(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """What differs, a value at a time; but for what the data set's pictures decide."""
    for name in [name for name in {**held, **wanted} if name not in ("digest", "classes", "trained")]:
        was, now = held.get(name), wanted.get(name)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _differences(was, now)
        elif was != now:
            yield f"{name} was {was!r}, is {now!r}"


def _line(error: Exception) -> str:
    return " ".join((getattr(error, "strerror", None) or str(error)).split()) or type(error).__name__
