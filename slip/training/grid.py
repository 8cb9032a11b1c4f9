"""The paper's search (arXiv 2405.07284, Table 1): its recipe for each rate and width of the heads.

``NAME.safetensors`` is the encoder of the lowest validation loss. The folder ``NAME.grid`` beside it
holds the run of every cell (``0.0001-128.run``), ``grid.json`` (the cells that are finished) and the
table as ``grid.csv`` and ``table.txt``. Of a finished cell only the metrics stay, and the weights of
the best one so far until the search ends.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

from slip.data.pictures import PictureSet
from slip.data.splits import split
from slip.device import Compute
from slip.errors import OutputError, UsageError
from slip.models.simple_clip import Shape
from slip.options import CAPTION, PAPER, PAPER_EMBED_DIMS, PAPER_RATES, SPLIT, PaperOptions, SplitOptions
from slip.outputs import remove_file, write_file
from slip.training.distributed import Ranks, joined
from slip.training.loop import Diverged, Watch
from slip.training.paper import FULL, Course, begin, check_options
from slip.training.run import Run, check_free, check_same, read_note

Cell = tuple[float, int]
"""Rate and width of the heads."""

PUBLISHED: dict[Cell, float] = {
    (1e-5, 128): 0.9507,
    (1e-5, 512): 0.9627,
    (1e-4, 128): 0.7791,
    (1e-4, 512): 0.7935,
    (1e-3, 128): 2.077,
    (1e-3, 512): 2.075,
    **{(rate, embed_dim): 2.074 for rate in (1e-2, 0.1, 0.5) for embed_dim in (128, 512)},
}
"""Validation losses of Table 1, from ImageNet's and DistilBERT's weights."""

Show = Callable[[Run], AbstractContextManager[Watch]]
"""What shows the training of one cell."""


@dataclass(frozen=True)
class Outcome:
    """One cell that is finished, by its best epoch; of ``epochs`` that were done, fewer where it diverged.

    The losses are None where no epoch was.
    """

    rate: float
    embed_dim: int
    epochs: int
    epoch: int | None
    train_loss: float | None
    validation_loss: float | None
    accuracy: float | None
    diverged: bool

    @property
    def cell(self) -> Cell:
        """Where it stands in the table."""
        return self.rate, self.embed_dim


@dataclass
class Grid:
    """A search: its result and folder, what it is of, and what is known already.

    note: what decides the outcomes, but for the cells. trials: pictures that losses are measured on.
    """

    out: Path
    cells: tuple[Cell, ...]
    note: Mapping[str, Any]
    trials: int
    outcomes: dict[Cell, Outcome] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where all but the result lies."""
        return self.out.with_suffix(".grid")

    @property
    def ledger(self) -> Path:
        """The note and the finished cells, as JSON."""
        return self.folder / "grid.json"

    @property
    def weights(self) -> str:
        """What the trunks started from: ``published`` or ``random``."""
        return str(self.note["weights"])

    @property
    def best(self) -> Outcome | None:
        """The cell of the lowest validation loss among those that did not diverge."""
        whole = (outcome for outcome in self.outcomes.values() if not outcome.diverged)
        return min(whole, key=lambda outcome: outcome.validation_loss or 0.0, default=None)

    def run_of(self, cell: Cell) -> Run:
        """The files of a cell's training."""
        return Run(self.folder / f"{cell[0]:g}-{cell[1]}.safetensors")


def run_grid(
    data: PictureSet,
    out: Path,
    compute: Compute,
    *,
    options: PaperOptions = PAPER,
    rates: Sequence[float] = PAPER_RATES,
    embed_dims: Sequence[int] = PAPER_EMBED_DIMS,
    caption: str = CAPTION,
    held_out: SplitOptions = SPLIT,
    shape: Shape = FULL,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    show: Show | None = None,
) -> Grid:
    """Train the paper's dual encoder once for every cell; ``train_paper`` tells of the other options.

    options: of every training; its ``rate`` and ``embed_dim`` are replaced by the cells'.
    resume: go on with the cell that was not finished; finished ones stay as they are.
    show: gives a context with the Watch of one cell's training.

    A cell whose loss becomes infinite or no number is told as diverged, and the search goes on.
    Raises UsageError where the search cannot begin or every cell diverged, WeightsError, OutputError,
    Interrupted.
    """
    show = show or (lambda _run: nullcontext(Watch()))
    cells = tuple((rate, embed_dim) for rate in rates for embed_dim in embed_dims)
    each = {cell: replace(options, rate=cell[0], embed_dim=cell[1]) for cell in cells}
    for chosen in each.values():
        check_options(chosen)
    start = begin((picture.caption for picture in data.pictures), shape)
    course = Course(data, split(data.pictures, held_out), start, compute, caption, held_out, workers)
    grid = Grid(out, cells, course.note(options), len(course.parts.validation))
    with joined(compute) as ranks:
        grid.outcomes = ranks.told(lambda: _open(grid, resume=resume, overwrite=overwrite))
        for cell in cells:
            if cell not in grid.outcomes:
                with show(grid.run_of(cell)) as watch:
                    grid.outcomes[cell] = _train(grid, cell, course, each[cell], ranks, watch)
                ranks.told(lambda: _keep(grid))
        ranks.told(lambda: _finish(grid))
    if grid.best is None:
        raise UsageError(f"the loss was lost in every cell of {str(grid.folder)!r}; search lower rates")
    return grid


def table(grid: Grid) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: a row a rate, and for each width our validation loss beside the published one."""
    embed_dims = list(dict.fromkeys(embed_dim for _, embed_dim in grid.cells))
    columns = ["rate"]
    for embed_dim in embed_dims:
        columns += [f"P = {embed_dim}, {grid.weights} weights", f"P = {embed_dim}, published"]
    rows = []
    for rate in dict.fromkeys(rate for rate, _ in grid.cells):
        row = [f"{rate:g}"]
        for embed_dim in embed_dims:
            published = PUBLISHED.get((rate, embed_dim))
            row += [_told(grid, (rate, embed_dim)), "-" if published is None else f"{published:g}"]
        rows.append(row)
    return columns, rows


def title(grid: Grid) -> str:
    """What the table shows, from what, on how many pictures."""
    options = grid.note["options"]
    return (
        f"validation loss on {grid.trials:,} pictures of {grid.note['data']}, best of {options['epochs']} "
        f"epochs, from {grid.weights} weights; published: Table 1 of arXiv 2405.07284, "
        "from ImageNet and DistilBERT weights, 2,132 pictures of Pokemon, 100 epochs"
    )


def leave_table(grid: Grid) -> None:
    """Write ``grid.csv``, a row a cell, and ``table.txt``, the table to read. Raises OutputError."""
    out = io.StringIO(newline="")
    names = [*Outcome.__dataclass_fields__, "weights", "trials", "published"]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for cell in grid.cells:
        if outcome := grid.outcomes.get(cell):
            more = {"weights": grid.weights, "trials": grid.trials, "published": PUBLISHED.get(cell)}
            writer.writerow({**asdict(outcome), **more})
    write_file(grid.folder / "grid.csv", out.getvalue().encode(), overwrite=True)
    columns, rows = table(grid)
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (columns, *rows)
    ]
    text = "\n".join([title(grid), "", *lines, ""])
    write_file(grid.folder / "table.txt", text.encode("utf-8", "surrogateescape"), overwrite=True)


def _told(grid: Grid, cell: Cell) -> str:
    outcome = grid.outcomes.get(cell)
    if outcome is None:
        return "-"
    told = "" if outcome.validation_loss is None else f"{outcome.validation_loss:.4f}"
    if outcome.diverged:
        return f"{told} diverged".strip()
    return f"{told} best" if grid.best == outcome else told


def _train(
    grid: Grid, cell: Cell, course: Course, options: PaperOptions, ranks: Ranks, watch: Watch
) -> Outcome:
    """Train one cell, from where it stands. One is diverged, too, whose validation never was a number."""
    run, epochs, diverged = grid.run_of(cell), options.epochs, False
    try:
        best = course.give(run.out, options, ranks, watch, resume=True, overwrite=True)
    except Diverged:
        records = ranks.told(lambda: run.records() if run.metrics.is_file() else [])
        done = [record for record in records if "validation_loss" in record]
        told = [record for record in done if isfinite(record["validation_loss"])]
        best = min(told, key=lambda record: float(record["validation_loss"]), default={})
        epochs, diverged = len(done), True
    if not isfinite(best.get("validation_loss", inf)):
        best, diverged = {}, True
    return Outcome(
        *cell,
        epochs=epochs,
        epoch=best.get("epoch"),
        train_loss=best.get("train_loss"),
        validation_loss=best.get("validation_loss"),
        accuracy=best.get("validation_accuracy"),
        diverged=diverged,
    )


def _open(grid: Grid, *, resume: bool, overwrite: bool) -> dict[Cell, Outcome]:
    """Begin the folder of the search, or read what is known already: that is given."""
    wanted = json.loads(json.dumps({**grid.note, "cells": grid.cells}))
    if resume and grid.ledger.is_file():
        held = read_note(grid.ledger)
        check_same(held.get("note", {}), wanted, grid.ledger)
        outcomes = (Outcome(**outcome) for outcome in held.get("outcomes", []))
        return {outcome.cell: outcome for outcome in outcomes}
    check_free(grid.out, grid.folder, overwrite=overwrite)
    if grid.folder.exists() and not grid.ledger.is_file():
        raise UsageError(f"{str(grid.folder)!r} is no folder of a search; move it or choose another name")
    try:
        if grid.folder.exists():
            shutil.rmtree(grid.folder)
        grid.folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(
            f"cannot write into {str(grid.folder)!r}: {error.strerror or error}; choose another name"
        ) from None
    _write(grid)
    return {}


def _write(grid: Grid) -> None:
    told = {
        "note": {**grid.note, "cells": grid.cells},
        "outcomes": [asdict(outcome) for outcome in grid.outcomes.values()],
    }
    write_file(grid.ledger, (json.dumps(told, indent=2) + "\n").encode(), overwrite=True)


def _keep(grid: Grid) -> None:
    """Write down what is known, then drop what finished cells no longer need."""
    _write(grid)
    leave_table(grid)
    for outcome in grid.outcomes.values():
        run = grid.run_of(outcome.cell)
        remove_file(run.checkpoint)
        if outcome != grid.best:
            remove_file(run.out)


def _finish(grid: Grid) -> None:
    """Give the best cell's encoder its name."""
    if grid.best is None:
        return
    found = grid.run_of(grid.best.cell).out
    try:
        if found.is_file():
            found.replace(grid.out)
    except OSError as error:
        raise OutputError(f"cannot write {str(grid.out)!r}: {error.strerror or error}") from None
    if not grid.out.is_file():
        raise UsageError(f"{str(grid.out)!r} is gone; search anew with --overwrite")
