"""The stages of a picture in a batch: read it, search it, write what was found.

They follow each other (``process``), overlap (``slip.batch.run``) or take place on several machines
(``slip.batch.cluster``). What goes wrong with a picture becomes a row, and the batch goes on.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from slip.batch.job import Job
from slip.batch.journal import Row
from slip.batch.labels import label_contents, only_labelled
from slip.batch.remote import read_uri
from slip.batch.sources import Task
from slip.device import is_out_of_memory
from slip.errors import OutputError, SlipError, UsageError, WeightsError
from slip.images import load_image
from slip.outputs import describe, write_files
from slip.pipeline.match import assign_one_to_one, label_all
from slip.types import Image, Prediction, Segmenter

_Done = TypeVar("_Done")


@dataclass(frozen=True)
class Failed:
    """A task that goes no further, and why."""

    task: Task
    error: str


@dataclass(frozen=True, eq=False)
class Read:
    """A task with its picture. state: of the picture before it was read. seconds: spent so far."""

    task: Task
    image: Image
    state: str | None
    seconds: float


@dataclass(frozen=True, eq=False)
class Searched:
    """A task with what was found for each of its prompts. state, seconds: as in ``Read``."""

    task: Task
    image: Image
    state: str | None
    predictions: Sequence[Prediction]
    seconds: float


@dataclass(frozen=True)
class Answer:
    """Rows without their files, and the files that they share: the bytes of each, made as it is taken."""

    rows: tuple[Row, ...]
    contents: Iterable[tuple[Path, bytes]] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a picture: a row a prompt, and the files that were written."""

    rows: tuple[Row, ...]
    written: tuple[Path, ...]


def process(segmenter: Segmenter, task: Task, job: Job) -> Outcome:
    """The whole of one picture: its files written, and the rows to keep of it.

    Raises WeightsError where the models cannot be had; what is wrong with the picture is in the rows.
    """
    return write(search(segmenter, read(task, job), job), job)


def read(task: Task, job: Job) -> Read | Failed:
    """Decode the picture."""
    start, state = perf_counter(), task.state()
    if task.error is not None:
        return Failed(task, task.error)

    def load() -> Image:
        source = read_uri(task.source) if isinstance(task.source, str) else task.source
        return load_image(source, max_megapixels=job.max_megapixels)

    image = _attempt(task, load)
    return image if isinstance(image, Failed) else Read(task, image, state, perf_counter() - start)


def search(segmenter: Segmenter, work: Read | Failed, job: Job) -> Searched | Failed:
    """Ask all prompts. Raises WeightsError."""
    if isinstance(work, Failed):
        return work
    start, image, prompts = perf_counter(), work.image, work.task.prompts

    def ask() -> list[Prediction]:
        predictions = segmenter.segment_each(image, prompts)
        return assign_one_to_one(predictions) if job.sharing == "one-to-one" else predictions

    predictions = _attempt(work.task, ask)
    if isinstance(predictions, Failed):
        return predictions
    return Searched(work.task, image, work.state, predictions, work.seconds + perf_counter() - start)


def write(work: Searched | Failed, job: Job) -> Outcome:
    """Write the files, whole or not at all; what cannot be written is told in the rows."""
    return put(work.task, work if isinstance(work, Failed) else answers(work, job), job)


def answers(work: Searched, job: Job) -> Iterator[Answer]:
    """What is to be told and written of a picture."""
    task = work.task
    if job.sharing == "label-all":
        answer = _attempt(task, lambda: _labels(work, job))
        yield _given_up(answer, job, task.prompts) if isinstance(answer, Failed) else answer
        return
    for prediction in work.predictions:
        row = _attempt(task, partial(_row, work, job, prediction, prediction))
        if isinstance(row, Failed):
            yield _given_up(row, job, [prediction.prompt])
            continue
        plan, untimed = job.plan(task, prediction.prompt), replace(prediction, timings={})
        yield Answer((row,), plan.contents(work.image, untimed, job.maker))


def _labels(work: Searched, job: Job) -> Answer:
    """What is told of all prompts, and the files that name every segment."""
    labels = label_all(work.predictions)
    rows = tuple(
        _row(work, job, only_labelled(prediction, labels), prediction) for prediction in work.predictions
    )
    paths = () if job.as_coco else job.label_names(work.task)
    return Answer(rows, label_contents(paths, work.predictions, labels, job.maker))


def _given_up(failed: Failed, job: Job, prompts: Iterable[str]) -> Answer:
    return Answer(tuple(_failed(failed, job, prompt) for prompt in prompts))


def encoded(work: Searched | Failed, job: Job) -> list[Answer] | Failed:
    """``answers`` with the bytes of all files, which another process can write."""
    if isinstance(work, Failed):
        return work

    def encode() -> list[Answer]:
        return [replace(answer, contents=tuple(answer.contents)) for answer in answers(work, job)]

    return _attempt(work.task, encode)


def put(task: Task, told: Iterable[Answer] | Failed, job: Job) -> Outcome:
    """Write the files of a picture, whole or not at all; what cannot be written is told in the rows."""
    if isinstance(told, Failed):
        return Outcome(_given_up(told, job, task.prompts).rows, ())
    rows: list[Row] = []
    written: list[Path] = []
    for answer in told:
        files: list[Path] = []
        failed = _put(task, job, answer, files)
        names = tuple(path.relative_to(job.folder).as_posix() for path in files)
        told_of = [_failed(failed, job, row.prompt) for row in answer.rows] if failed else answer.rows
        rows += [replace(row, files=names) for row in told_of]
        written += [] if failed else files
    return Outcome(tuple(rows), tuple(written))


def _put(task: Task, job: Job, answer: Answer, written: list[Path]) -> Failed | None:
    """Write files in folders that are made for them. A rerun finds those of a run that was killed.

    written: the paths are added to it, also before a failure.
    """

    def in_folders() -> Iterator[tuple[Path, bytes]]:
        for path, data in answer.contents:
            if _is_spared(path, task):
                raise UsageError(f"{str(path)!r} is a picture of this batch; name another folder with -o")
            _make_folder(path.parent, job.folder)
            yield path, data
            written.append(path)  # whoever asks for the next has written this one

    def write_all() -> None:
        replaced = [path for path in job.replaced(task, answer.rows[0].prompt) if not _is_spared(path, task)]
        write_files(in_folders(), replaced, overwrite=job.overwrite, equal_is_ours=True)

    return _attempt(task, write_all)


def _is_spared(path: Path, task: Task) -> bool:
    return os.path.realpath(path) in task.spared


def _make_folder(folder: Path, results: Path) -> None:
    """Make a folder below that of the results, but not that one again. Raises OutputError."""
    try:
        if not results.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "the folder of the results is gone")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {str(folder)!r}: {error.strerror or error}") from None


def _row(work: Searched, job: Job, prediction: Prediction, ranked: Prediction) -> Row:
    """What is told of a prediction, but for its files.

    ranked: the prediction before segments went to other prompts; its best is told where none is left.
    """
    row = Row(
        work.task.image,
        prediction.prompt,
        "found" if prediction.found else "no match",
        job.digest(work.task),
        state=work.state,
        image_size=prediction.image_size,
        seconds=round(work.seconds / len(work.predictions), 4),
        segments=_coded(prediction, job) if job.as_coco else None,
    )
    told = prediction if prediction.scores else ranked
    best = told.candidate
    if best is None:
        return row
    box = best.box.x1, best.box.y1, best.box.x2, best.box.y2
    return replace(row, score=told.scores[0], box=box, area=best.area)


def _coded(prediction: Prediction, job: Job) -> tuple[dict[str, Any], ...]:
    """The matches that are wanted, for the COCO file."""
    every = job.sharing == "label-all"
    matches = prediction.matches if every else job.wanted.chosen(prediction)
    return tuple({"score": match.score, **describe(match, with_rle=True)} for match in matches)


def _failed(failed: Failed, job: Job, prompt: str) -> Row:
    task = failed.task
    return Row(task.image, prompt, "failed", job.digest(task), failed.error, task.state())


def _attempt(task: Task, do: Callable[[], _Done]) -> _Done | Failed:
    """What is done, or why it cannot be. Raises WeightsError, of which the next picture would die too."""
    try:
        return do()
    except WeightsError:
        raise
    except SlipError as error:
        return Failed(task, str(error))
    except Exception as error:  # of torch, OpenCV and Python, each of its own kind
        if not is_out_of_memory(error):
            raise
        return Failed(task, "out of memory; try a smaller picture, smaller models or --device cpu")
