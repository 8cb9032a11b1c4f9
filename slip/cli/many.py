"""``slip segment`` of many pictures or prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import typer

from slip.batch.paths import STANDARD, is_folder
from slip.batch.plan import Wanted
from slip.cli import console, files
from slip.cli.batch_display import batch_display
from slip.errors import UsageError

if TYPE_CHECKING:
    from slip.batch.job import Job, Sharing
    from slip.batch.journal import Existing, Results, Row, Status
    from slip.batch.sources import Task
    from slip.batch.work import Outcome
    from slip.cli.search import Approach
    from slip.cli.segment_arguments import Assign, Engine

FAILED = 3
"""The exit code of a batch with failures."""


@dataclass(frozen=True)
class Many:
    """A batch as the command line gives it."""

    images: Sequence[str]
    prompts: Sequence[str]
    listed: Path | None
    output: str | None
    wanted: Wanted
    sharing: Sharing | None
    existing: Existing
    fail_fast: bool
    max_megapixels: float
    engine: Engine = "plain"

    @property
    def folder(self) -> Path:
        """Where the results go. Raises UsageError."""
        if self.output is None:
            raise UsageError("many pictures or prompts have many results; name a folder for them with -o")
        folder = Path(self.output)
        if self.output == STANDARD or (folder.suffix.lower() == ".png" and not is_folder(folder)):
            raise UsageError(
                f"many pictures or prompts have many results; -o {self.output} is no folder, name one"
            )
        return folder

    def tasks(self) -> list[Task]:
        """The pictures with their prompts. Raises UsageError, ImageError."""
        from slip.batch.sources import find_tasks

        stdin = files.read_stdin() if STANDARD in self.images else b""
        return find_tasks(self.images, self.prompts, self.listed, output=self.folder, stdin=stdin)

    def check(self, search: Approach) -> None:
        """Refuse options that exclude each other, or that want what is not installed. Raises UsageError."""
        wanted = self.wanted
        if self.engine == "ray":
            from slip.batch.cluster import check_library

            check_library()
        if self.sharing and search.guided:
            raise UsageError(
                "--points guided searches for each prompt alone; --assign and --label-all need another"
            )
        if self.sharing and (wanted.top_k or wanted.all_matches):
            raise UsageError(
                "--assign and --label-all say which segments a prompt gets; leave out --top-k, --all-matches"
            )
        if self.sharing == "label-all" and wanted != Wanted(masks=wanted.masks):
            raise UsageError(
                "--label-all writes STEM.labels.png and STEM.labels.json alone; leave the rest out"
            )


def how_shared(assign: Assign | None, label_all: bool) -> Sharing | None:
    """How the prompts share a picture's segments. Raises UsageError."""
    if assign and label_all:
        raise UsageError(
            "--assign gives prompts segments, --label-all segments prompts; leave one of them out"
        )
    return "label-all" if label_all else assign


def which_existing(overwrite: bool, skip: bool) -> Existing:
    """What becomes of results that are there. Raises UsageError."""
    if overwrite and skip:
        raise UsageError(
            "--overwrite replaces what is there, --skip-existing keeps it; leave one of them out"
        )
    return "overwrite" if overwrite else "skip" if skip else "resume"


def segment_many(many: Many, search: Approach) -> None:
    """Do what is not done yet, and tell how it went. Raises typer.Exit where not all is well."""
    start = perf_counter()
    folder = many.folder
    search.check()
    many.check(search)
    tasks = many.tasks()

    from slip.batch.coco import write_coco
    from slip.batch.job import Job
    from slip.batch.journal import COCO, RESULTS, Results

    job = Job(
        folder,
        many.wanted,
        many.sharing,
        many.max_megapixels,
        overwrite=many.existing == "overwrite",
        settings=search.settings(),
    )
    if job.overwrite:
        with console.progress() as progress:
            search.fetch(progress)
    results = Results.open(job, tasks, many.existing)
    try:
        kept = results.tally.total()
        failed = _work(many, job, results, search) if results.pending else []
        written = [folder / RESULTS]
        if job.as_coco and not (failed and many.fail_fast):
            write_coco(folder / RESULTS, folder / COCO)
            written.append(folder / COCO)
    finally:
        results.close()
    console.emit_paths(written)
    if results.by_name:
        console.tell(
            f"{results.by_name} of those found are masks that were there, of which {RESULTS} does not tell"
        )
    _conclude(results.tally, kept, failed, perf_counter() - start)


def _work(many: Many, job: Job, results: Results, search: Approach) -> list[Row]:
    """Do what is pending; returns what failed."""
    on_ray = many.engine == "ray"
    failed: list[Row] = []
    total, done = len(results.pending), 0
    try:
        with console.libraries_muted() if on_ray else nullcontext(), batch_display() as display:

            def tell(outcome: Outcome) -> None:
                nonlocal done
                done += 1
                failed.extend(row for row in outcome.rows if row.status == "failed")
                with display.aside():
                    console.emit_paths(outcome.written)
                display.show(done, total, _told(outcome.rows[-1]))

            if on_ray:
                from slip.batch.cluster import run_on_ray

                work = partial(
                    run_on_ray,
                    results.pending,
                    search.start,
                    job,
                    progress=display.stages,
                    on_gpu=search.device in ("auto", "cuda"),
                )
            else:
                from slip.batch.run import run

                segmenter, maker = search.start(display.stages)
                work = partial(run, results.pending, segmenter, replace(job, maker=maker))
            search.note(*dict.fromkeys(prompt for task in results.pending for prompt in task.slugs))
            display.begin()
            work(results, tell, fail_fast=many.fail_fast)
    except KeyboardInterrupt:
        again = "the same command without --overwrite" if job.overwrite else "the same command"
        console.tell(f"{done} of {total} pictures are done, and kept in {str(job.folder)!r}; {again} goes on")
        raise
    return failed


def _told(row: Row) -> str:
    """What became of a picture and a prompt, in a few words."""
    score = "" if row.score is None else f", {row.score:.2f}"
    return f"{row.image}: {row.prompt!r} {row.status}{score}"


def _conclude(tally: Counter[Status], kept: int, failed: Sequence[Row], seconds: float) -> None:
    """A table of what failed, and the last line. Raises typer.Exit where not all is well."""
    if failed:
        prompts: dict[tuple[str, str], list[str]] = {}
        for row in failed:
            prompts.setdefault((row.image, row.error or ""), []).append(row.prompt)
        rows = [(image, ", ".join(asked), error) for (image, error), asked in prompts.items()]
        console.tell_table("failed", ("picture", "prompt", "because"), rows)
    before = f", {kept} of them before" if kept else ""
    console.tell(
        f"{tally['found']} found, {tally['no match']} without a match, {tally['failed']} failed{before}, "
        f"{seconds:.1f} s"
    )
    if failed:
        raise typer.Exit(FAILED)
    if not tally["found"]:
        raise typer.Exit(1)
