"""The results of a batch on disk, ``results.jsonl``: a line a picture and prompt, valid at every moment.

A batch that was broken off, even by kill -9, goes on: what has its line is not done again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock, Timeout

from slip.batch.job import Job
from slip.batch.sources import Task
from slip.errors import OutputError, UsageError
from slip.outputs import append_file, remove_file, write_file

RESULTS, COCO, LOCK = "results.jsonl", "coco.json", ".results.lock"

Status = Literal["found", "no match", "failed"]
Existing = Literal["resume", "skip", "overwrite"]
"""What becomes of results that are there: go on with those of the same settings, pass over all, or none."""

_Key = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """What became of a picture and a prompt: a line of ``results.jsonl``.

    settings: a digest of all that decides the result. error: why it failed.
    state: of the picture, as ``Task.state`` tells it.
    score, box (xyxy pixels, x2 and y2 exclusive), area: of the best match, or where nothing matches
    of the best candidate; None where there is no segment. image_size: (height, width).
    files: what was written, relative to the folder, with slashes.
    seconds: the picture's time, shared evenly among its prompts.
    segments: of a batch that ends as COCO, the matches with ``score``, ``box``, ``area`` and ``rle``.
    """

    image: str
    prompt: str
    status: Status
    settings: str
    error: str | None = None
    state: str | None = None
    score: float | None = None
    box: tuple[int, int, int, int] | None = None
    area: int | None = None
    image_size: tuple[int, int] | None = None
    files: tuple[str, ...] = ()
    seconds: float = 0.0
    segments: tuple[Mapping[str, Any], ...] | None = None

    def to_line(self) -> bytes:
        """JSON in UTF-8 with a line break; ``segments`` is left out where there are none to keep."""
        told = asdict(self)
        if self.segments is None:
            del told["segments"]
        return (json.dumps(told, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


class Results:
    """What has been done so far, and what is still to do.

    pending: the tasks with the prompts that are still to be asked. tally: how often each status is
    among the results of all tasks.
    """

    def __init__(self, folder: Path, pending: list[Task], tally: Counter[Status], lock: FileLock) -> None:
        self.folder = folder
        self.pending = pending
        self.tally = tally
        self._lock = lock

    @classmethod
    def open(cls, job: Job, tasks: Sequence[Task], existing: Existing = "resume") -> Results:
        """Begin in a new folder, or go on in one.

        Lines of results that are to be made again are taken out: they failed, a file of theirs is gone, the
        picture has changed. So is a line that was cut off.

        Raises UsageError for a folder with results of other settings (unless ``existing`` says what
        becomes of them), with a file that is no such journal, or that another run writes to; OutputError.
        """
        lock = _lock(job.folder)
        try:
            path = job.folder / RESULTS
            if existing == "overwrite" or not path.exists():
                _begin(job.folder, overwrite=existing == "overwrite")
            _cut_partial_line(path)
            done = _done(job, tasks, existing)
            pending = [rest for task in tasks for rest in [_rest(job, task, done)] if rest.slugs]
            left = {(task.image, prompt) for task in pending for prompt in task.slugs}
            _take_out(path, left)
            kept = Counter(status for key, status in done.items() if key not in left)
            return cls(job.folder, pending, kept, lock)
        except BaseException:
            lock.release()
            raise

    def add(self, rows: Sequence[Row]) -> None:
        """Append the lines of one picture, all or none of them. Raises OutputError."""
        path = self.folder / RESULTS
        if not path.exists():
            raise OutputError(f"{str(path)!r} is gone; run the same again")
        append_file(path, b"".join(row.to_line() for row in rows))
        self.tally.update(row.status for row in rows)

    def close(self) -> None:
        """Let other runs write to the folder."""
        self._lock.release()


def read_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The lines of ``results.jsonl``, as they are and as JSON. Raises UsageError, OutputError."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield line, _parse(path, number, line)
    except OSError as error:
        raise _unusable(path, error) from None


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
        texts = told["image"], told["prompt"], told["settings"], *told["files"]
        sound = told["status"] in get_args(Status) and all(isinstance(text, str) for text in texts)
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise UsageError(
            f"line {number} of {str(path)!r} is no result of slip segment; start anew with --overwrite, or "
            "name another folder with -o"
        )
    return dict(told)


def _lock(folder: Path) -> FileLock:
    """Make the folder and hold it for this run."""
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except FileExistsError:
        raise UsageError(f"{str(folder)!r} is a file; name a folder with -o") from None
    except Timeout:
        raise UsageError(
            f"another run writes to {str(folder)!r}; wait for it, or name another folder with -o"
        ) from None
    except OSError as error:
        raise _unusable(folder, error) from None
    return lock


def _begin(folder: Path, *, overwrite: bool) -> None:
    """An empty journal. A COCO file without one was made by others."""
    coco = folder / COCO
    if overwrite:
        remove_file(coco)
    elif coco.exists():
        raise UsageError(f"{str(coco)!r} exists; replace it with --overwrite or name another folder with -o")
    write_file(folder / RESULTS, b"", overwrite=overwrite)


def _cut_partial_line(path: Path) -> None:
    """Take off what a kill left of a last line."""
    try:
        with path.open("r+b") as file:
            end = kept = file.seek(0, 2)
            while kept > 0:
                start = max(0, kept - 65536)
                file.seek(start)
                found = file.read(kept - start).rfind(b"\n")
                kept = start + found + 1 if found >= 0 else start
                if found >= 0:
                    break
            if kept < end:
                file.truncate(kept)
    except OSError as error:
        raise _unusable(path, error) from None


def _done(job: Job, tasks: Sequence[Task], existing: Existing) -> dict[_Key, Status]:
    """What of the tasks needs not be done again. Raises UsageError."""
    wanted = {(task.image, prompt): job.digest(task) for task in tasks for prompt in task.slugs}
    known = set(wanted.values())
    states = {task.image: task.state() for task in tasks}
    done: dict[_Key, Status] = {}
    failed: set[_Key] = set()
    for _, told in read_lines(job.folder / RESULTS):
        key = told["image"], told["prompt"]
        same = told["settings"] in ({wanted[key]} if key in wanted else known)
        if not same and existing == "resume":
            raise _other_settings(job.folder)
        if key in wanted and told["status"] == "failed":
            failed.add(key)
        elif key in wanted and job.keeps(told) and told.get("state") == states[told["image"]]:
            done[key] = told["status"]
    if existing == "skip":
        for task in tasks:
            for prompt in task.slugs:
                key = task.image, prompt
                if key not in failed and key not in done and job.has_made(task, prompt):
                    done[key] = "found"
    return done


def _other_settings(folder: Path) -> UsageError:
    return UsageError(
        f"{str(folder)!r} holds results of other settings; keep them with --skip-existing, start anew with "
        "--overwrite, or name another folder with -o"
    )


def _rest(job: Job, task: Task, done: Mapping[_Key, Status]) -> Task:
    """The task with the prompts that are left; with all of them, where one depends on the other."""
    left = {prompt: slug for prompt, slug in task.slugs.items() if (task.image, prompt) not in done}
    return replace(task, slugs=task.slugs if left and job.sharing else left)


def _take_out(path: Path, keys: set[_Key]) -> None:
    """Rewrite the journal without the lines of ``keys``, if it has any."""

    def kept() -> Iterator[bytes]:
        return (line for line, told in read_lines(path) if (told["image"], told["prompt"]) not in keys)

    if any((told["image"], told["prompt"]) in keys for _, told in read_lines(path)):
        write_file(path, kept(), overwrite=True)


def _unusable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot use {str(path)!r}: {error.strerror or error}; name another folder with -o")
