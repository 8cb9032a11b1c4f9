"""The options that the commands which train share, each declared once."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Annotated

import typer

from slip.batch.paths import is_folder
from slip.cli.arguments import MODELS, OUTPUT
from slip.errors import UsageError

DATA = "Data"
TRAINING = "Training"
PARTS = "Networks of parts"
NO_SEGMENTS = "none"

DataSet = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="A folder that holds a folder of pictures for each class; a .csv or .jsonl with image and "
        "label or caption; critters, the drawn ones; or a set with masks of parts (see slip data), "
        "with --method to eval or finetune, else each part a class.",
        show_default=False,
    ),
]

Result = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="NAME",
        help="The result is NAME.safetensors; the folder NAME.run beside it says how the training goes.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]

Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Start anew over an earlier result of this name.", rich_help_panel=OUTPUT
    ),
]

Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on where the run of this name stands; data and options must be the same.",
        rich_help_panel=OUTPUT,
    ),
]

Validation = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Share of every class that is held out; of the whole set where hardly any pictures share a "
        "class. Copies of a picture stay on one side.",
        rich_help_panel=DATA,
    ),
]

Seed = Annotated[
    int,
    typer.Option(min=0, help="Decides the split, and the training's order and chance.", rich_help_panel=DATA),
]

Segments = Annotated[
    str,
    typer.Option(
        metavar="SAM|none",
        help="Also train on segments of the training pictures, which this SAM finds once: vit_b, vit_l, "
        "vit_h, tiny or a checkpoint.",
        rich_help_panel=DATA,
    ),
]

Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes that prepare pictures. The result does not depend on it.",
        show_default="one less than processors, at most 8",
        rich_help_panel=MODELS,
    ),
]


def above_zero(value: float | None) -> float | None:
    """The value, where one is given. Raises typer.BadParameter."""
    if value is not None and not 0 < value < inf:
        raise typer.BadParameter(f"{value} is not above 0")
    return value


def name_result(output: str) -> Path:
    """The path of the result, which ends in ``.safetensors``. Raises UsageError where that is no name."""
    from slip.models.checks import SUFFIX

    path = Path(output)
    if output.endswith("/") or path.name in ("", ".", "..", "-") or is_folder(path):
        raise UsageError(f"-o {output!r} is no name for a file; name one, as in -o models/birds")
    return path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX)


def check_result(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse, before any work, a place that cannot be written. Raises UsageError, OutputError."""
    from slip.outputs import check_outputs

    if resume and overwrite:
        raise UsageError("--resume goes on with a run and --overwrite starts it anew; give one of them")
    check_outputs([out], overwrite=True)


def worker_count(wanted: int | None) -> int:
    """How many processes prepare pictures."""
    import os

    return max(0, min(8, (os.cpu_count() or 1) - 1)) if wanted is None else wanted
