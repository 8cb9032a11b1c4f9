"""The trainings of ``slip finetune``, each ending in what its last line says.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from slip.cli import console
from slip.cli.training import Lesson, emit_results, one_voice, percent
from slip.cli.training_display import display
from slip.data.pictures import PictureSet
from slip.device import resolve
from slip.errors import WeightsError
from slip.models import check_encoder
from slip.models.simple_clip import check_library, fetch_published
from slip.options import FinetuneOptions, PaperOptions
from slip.training import finetune, paper
from slip.training.distributed import leads
from slip.training.grid import run_grid, table, title
from slip.training.loop import Watch
from slip.training.report import leave_unreadable
from slip.training.run import Record, Run, check_free


def teach(
    lesson: Lesson,
    out: Path,
    start: tuple[str, str | None],
    options: FinetuneOptions,
    *,
    resume: bool,
    overwrite: bool,
) -> str:
    """Fine-tune a CLIP; ``start`` is its name and that of its weights.

    Raises what ``finetune`` and reading the data raise.
    """
    finetune.check_options(options)
    check_encoder(*start)
    run = Run(out)
    train = partial(finetune.finetune, start=finetune.Start(*start), options=options)
    _, result = lesson.give(run, train, resume=resume, overwrite=overwrite)
    emit_results(out, run.folder)
    return f"{_figures(result, options.epochs)}; before it was {100 * result['base_accuracy']:.1f} %"


def teach_paper(lesson: Lesson, out: Path, options: PaperOptions, *, resume: bool, overwrite: bool) -> str:
    """Train the paper's dual encoder. Raises what ``train_paper`` and reading the data raise."""
    paper.check_options(options)
    check_library()
    run = Run(out)
    train = partial(paper.train_paper, options=options)
    _, result = lesson.give(run, train, resume=resume, overwrite=overwrite)
    emit_results(out, run.folder)
    return f"{_figures(result, options.epochs)}; loss {result['validation_loss']:.4f}"


def search(lesson: Lesson, out: Path, options: PaperOptions, *, resume: bool, overwrite: bool) -> str:
    """Search the paper's Table 1 and print it. Raises what ``run_grid`` and reading the data raise."""
    paper.check_options(options)
    check_library()
    folder = out.with_suffix(".grid")
    if not resume:
        check_free(out, folder, overwrite=overwrite)
    with one_voice(folder):
        compute = resolve(lesson.device, lesson.precision)
        data = lesson.read(folder)
        with console.progress() as progress, suppress(WeightsError):  # the search tells of this error
            fetch_published(progress)
        show = partial(_show_cell, data)
        found = run_grid(
            data,
            out,
            compute,
            options=options,
            resume=resume,
            overwrite=overwrite,
            show=show,
            **lesson.common,
        )
        if leads():
            leave_unreadable(folder, data)
            console.tell_table(title(found), *table(found))
            console.emit_paths([out, folder])
    return f"searched {len(found.cells)} rates and widths"


@contextmanager
def _show_cell(data: PictureSet, run: Run) -> Iterator[Watch]:
    rate, _, embed_dim = run.out.stem.rpartition("-")
    console.tell(f"rate {rate}, P = {embed_dim}")
    with display(run, data) as watch:
        yield watch


def _figures(result: Record, epochs: int) -> str:
    right = percent(result["accuracy"], result["trials"])
    return f"validation accuracy {right} held-out pictures, best in epoch {result['epoch']} of {epochs}"
