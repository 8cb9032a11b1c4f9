"""The results of a batch on disk, ``results.jsonl``: a line a picture and prompt, valid at every moment.

A batch that was broken off, even by kill -9, goes on: what has its line is not done again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from os.path import realpath
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from filelock import FileLock, Timeout

from slip.batch.job import Job
from slip.batch.paths import STANDARD
from slip.batch.sources import Task, whole_name
from slip.errors import OutputError, UsageError
from slip.outputs import append_file, remove_file, write_file

RESULTS, COCO, LOCK = "results.jsonl", "coco.json", ".results.lock"

Status = Literal["found", "no match", "failed"]
Existing = Literal["resume", "skip", "overwrite"]
"""What becomes of results that are there: go on with those of the same settings, pass over all, or none."""

_Key = tuple[str, str]
"""A picture, by its whole name, and a prompt."""


@dataclass(frozen=True)
class Row:
    """What became of a picture and a prompt: a line of ``results.jsonl``.

    settings: a digest of all that decides the result. error: why it failed.
    state: of the picture, as ``Task.state`` tells it.
    score, box (xyxy pixels, x2 and y2 exclusive), area: of the best match, or where nothing matches
    of the best candidate; None where there is no segment. image_size: (height, width).
    files: what was written, relative to the folder, with slashes; of a failure, until then.
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
    among the results of all tasks. by_name: how many of those count as found for a mask of which no
    line tells.
    """

    def __init__(
        self, folder: Path, pending: list[Task], tally: Counter[Status], by_name: int, lock: FileLock
    ) -> None:
        self.folder = folder
        self.pending = pending
        self.tally = tally
        self.by_name = by_name
        self._lock = lock

    @classmethod
    def open(cls, job: Job, tasks: Sequence[Task], existing: Existing = "resume") -> Results:
        """Begin in a new folder, or go on in one.

        Lines of results that are to be made again are taken out, with their files: they failed, a file of
        theirs is gone, the picture has changed. So is a line that was cut off.

        Raises UsageError for a folder with results of other settings (unless ``existing`` says what
        becomes of them), with a file that is no such journal, or that another run writes to; OutputError.
        """
        lock = _lock(job.folder)
        try:
            path = job.folder / RESULTS
            if path.is_file():
                _cut_partial_line(path)
            if existing == "overwrite" or not path.exists():
                _begin(job.folder, tasks, overwrite=existing == "overwrite")
            done, by_name = _done(job, tasks, existing)
            pending = [rest for task in tasks for rest in [_rest(job, task, done)] if rest.slugs]
            left = _keys(pending)
            _take_out(job.folder, pending)
            kept = Counter(status for key, status in done.items() if key not in left)
            return cls(job.folder, pending, kept, by_name, lock)
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


def _begin(folder: Path, tasks: Sequence[Task], *, overwrite: bool) -> None:
    """An empty journal. A COCO file without one was made by others.

    What is overwritten is removed at once: a run that is broken off goes on without ``overwrite``.
    """
    coco = folder / COCO
    if overwrite:
        remove_file(coco)
        if (folder / RESULTS).is_file():
            with suppress(UsageError):  # no journal: it names no files
                _take_out(folder, tasks)
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


def _done(job: Job, tasks: Sequence[Task], existing: Existing) -> tuple[dict[_Key, Status], int]:
    """What of the tasks needs not be done again, and how much of it no line tells of. Raises UsageError."""
    wanted = {(task.whole_name, prompt): job.digest(task) for task in tasks for prompt in task.slugs}
    known = set(wanted.values())
    states = {task.whole_name: task.state() for task in tasks}
    done: dict[_Key, Status] = {}
    told_of: set[_Key] = set()
    failed: set[_Key] = set()
    owners: dict[str, str] = {}
    for _, told in read_lines(job.folder / RESULTS):
        key = _key(told)
        if existing == "skip":
            owners.update(dict.fromkeys(told["files"], key[0]))
        if told["status"] == "failed":
            failed.add(key)
            continue
        same = told["settings"] in ({wanted[key]} if key in wanted else known)
        if not same and existing == "resume":
            raise _other_settings(job.folder)
        if key in wanted:
            told_of.add(key)
            if job.keeps(told) and told.get("state") == states[key[0]]:
                done[key] = told["status"]
    if existing == "skip":
        by_file = _with_a_mask(job, tasks, owners) - done.keys() - failed
        done.update(dict.fromkeys(by_file, "found"))
        return done, len(by_file - told_of)
    return done, 0


def _with_a_mask(job: Job, tasks: Sequence[Task], owners: Mapping[str, str]) -> set[_Key]:
    """What has its mask, by whatever settings. owners: whose the files are of which lines tell."""
    return {
        (task.whole_name, prompt)
        for task in tasks
        for prompt in task.slugs
        if any(
            path.exists()
            and owners.get(path.relative_to(job.folder).as_posix(), task.whole_name) == task.whole_name
            for path in job.masks(task, prompt)
        )
    }


def _other_settings(folder: Path) -> UsageError:
    return UsageError(
        f"{str(folder)!r} holds results of other settings; keep them with --skip-existing, start anew with "
        "--overwrite, or name another folder with -o"
    )


def _rest(job: Job, task: Task, done: Mapping[_Key, Status]) -> Task:
    """The task with the prompts that are left; with all of them, where one depends on the other."""
    left = {prompt: slug for prompt, slug in task.slugs.items() if (task.whole_name, prompt) not in done}
    return replace(task, slugs=task.slugs if left and job.sharing else left)


def _keys(tasks: Sequence[Task]) -> set[_Key]:
    return {(task.whole_name, prompt) for task in tasks for prompt in task.slugs}


def _key(told: Mapping[str, Any]) -> _Key:
    return whole_name(told["image"]), told["prompt"]


def _take_out(folder: Path, tasks: Sequence[Task]) -> None:
    """Rewrite the journal without the lines of the tasks, if it has any, and remove the files they name.

    Those of a picture on standard input stay: the next one there is another, not the same that has changed.
    """
    path, keys = folder / RESULTS, _keys(tasks)
    found = [(told["image"], told["files"]) for _, told in read_lines(path) if _key(told) in keys]
    if not found:
        return
    old = {name for image, files in found if image != STANDARD for name in files}
    for _, told in read_lines(path) if old else ():
        if _key(told) not in keys:
            old.difference_update(told["files"])
    for name in old:
        is_inside = not (PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts)
        if is_inside and realpath(folder / name) not in tasks[0].spared:
            remove_file(folder / name)
    write_file(path, (line for line, told in read_lines(path) if _key(told) not in keys), overwrite=True)


def _unusable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot use {str(path)!r}: {error.strerror or error}; name another folder with -o")
