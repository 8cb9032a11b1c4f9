"""The folder of an evaluation: what decides its results, and lines of records that are only added to.

``run.json`` says what was measured and how; a file of records has a line of JSON for each. So an
evaluation that was broken off goes on, and never with anything else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from slip.errors import OutputError, UsageError
from slip.outputs import append_file, write_file

RUN = "run.json"
OURS = "slip"
"""What the command notes in every run: its version."""
Record = TypeVar("Record")


def begin(folder: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    """Begin in a new or empty folder, or go on with the same ``run`` (JSON); returns it as JSON has it.

    An evaluation that failed before anything was measured does not stand in the way of another one.
    Raises UsageError for a folder that holds anything else, or another run; OutputError.
    """
    wanted: dict[str, Any] = json.loads(json.dumps(run))
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        alone = all(path.name == RUN or path.suffix == ".part" for path in folder.iterdir())
    except OSError as error:
        raise unusable(folder, error) from None
    there = (folder / RUN).exists()
    held = _read_run(folder) if there else {}
    if there and not (alone and OURS in held):
        _check_same(held, wanted, folder)
    if not there or held != wanted:
        write_file(folder / RUN, (json.dumps(wanted, indent=2) + "\n").encode(), overwrite=there)
    return wanted


def read_records(path: Path, read: Callable[[Any], Record], together: int = 1) -> list[Record]:
    """The records of a file, none where there is no file; what was cut off at its end is taken off it.

    read: makes a record of a line's JSON; ValueError, KeyError and TypeError say that it is none.
    together: how many records are always written at once, and count only together.
    Raises UsageError for a file that holds anything else, OutputError.
    """
    try:
        data = path.read_bytes()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        whole = lines[: len(lines) // together * together]
        if (length := sum(map(len, whole))) < len(data):
            os.truncate(path, length)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unusable(path, error) from None
    try:
        return [read(json.loads(line)) for line in whole]
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{str(path)!r} is damaged; remove it to measure anew, or name another folder"
        ) from None


def add_records(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Append a line of JSON for each record. Raises OutputError; then none is added."""
    append_file(path, "".join(json.dumps(record) + "\n" for record in records).encode())


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
        raise unusable(folder, error) from None
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


def unusable(path: Path, error: OSError) -> OutputError:
    """What is raised for a path that the system refuses."""
    return OutputError(f"cannot use {str(path)!r}: {error.strerror or error}; name another folder with -o")
