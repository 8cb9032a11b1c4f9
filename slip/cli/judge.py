"""``slip judge``: train the judge of an evaluation."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Annotated, Any

import typer

from slip.cli import arguments as args
from slip.cli import console
from slip.cli import training_arguments as given
from slip.errors import UsageError
from slip.options import CAPTION, JUDGES, SPLIT, JudgeRecipe, SplitOptions

NAMED = 5
"""How many confusions the summary names."""


def _of_recipes(option: str) -> str:
    """The default of an option, by recipe."""
    return ", ".join(f"{name} {getattr(options, option)}" for name, options in JUDGES.items())


def judge(
    dataset: given.DataSet,
    output: given.Result,
    overwrite: given.Overwrite = False,
    resume: given.Resume = False,
    validation: given.Validation = SPLIT.validation,
    seed: given.Seed = SPLIT.seed,
    segments: given.Segments = given.NO_SEGMENTS,
    device: args.OnDevice = "auto",
    precision: args.InPrecision = "auto",
    workers: given.Workers = None,
    recipe: Annotated[
        JudgeRecipe,
        typer.Option(
            help="paper: from ImageNet weights where they can be had, pictures squashed to 224 px and "
            "never varied; own: from random weights, pictures smaller, whole and as crops, varied and mixed.",
            rich_help_panel=given.TRAINING,
        ),
    ] = "paper",
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Times every picture is seen.",
            show_default=_of_recipes("epochs"),
            rich_help_panel=given.TRAINING,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Pictures a step, of all processes together under torchrun.",
            show_default=_of_recipes("batch"),
            rich_help_panel=given.TRAINING,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            callback=given.above_zero,
            help="Highest learning rate.",
            show_default=_of_recipes("rate"),
            rich_help_panel=given.TRAINING,
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=4096,
            help="Side of the pictures it is shown, in pixels.",
            show_default=_of_recipes("image_size"),
            rich_help_panel=given.TRAINING,
        ),
    ] = None,
) -> None:
    """Train a ResNet-18 to say which class of DATASET a picture shows.

    NAME.safetensors is for slip eval --judge. NAME.run holds the metrics, their curves, the split,
    the confusions as a picture and as JSON, and what --resume goes on from. Both paths go to
    standard output. Under torchrun several devices or machines train together.
    """
    start = perf_counter()
    out = given.name_result(output)
    given.check_result(out, resume=resume, overwrite=overwrite)
    if segments != given.NO_SEGMENTS and recipe == "paper":
        raise UsageError("--recipe paper knows no segments; leave --segments out or choose --recipe own")
    wanted: dict[str, Any] = {"epochs": epochs, "batch": batch, "rate": rate, "image_size": image_size}
    given_values = {name: value for name, value in wanted.items() if value is not None}
    options = replace(JUDGES[recipe], **given_values, seed=seed)

    from slip.charts import confusions
    from slip.cli.training import Lesson, emit_results, percent
    from slip.training.distributed import leads
    from slip.training.judge import train_judge
    from slip.training.report import leave_confusion
    from slip.training.run import Run

    lesson = Lesson(dataset, CAPTION, SplitOptions(validation, seed), segments, device, precision, workers)
    run, train = Run(out), partial(train_judge, options=options)
    data, result = lesson.give(run, train, resume=resume, overwrite=overwrite)
    if leads():
        leave_confusion(run, result["confusion"], data.classes)
    emit_results(out, run.folder)
    if confused := confusions(result["confusion"], data.classes)[:NAMED]:
        named = (f"{true} as {judged} {times} of {trials}" for true, judged, times, trials in confused)
        console.tell(f"most often confused: {', '.join(named)}")
    console.tell(
        f"validation accuracy {percent(result['validation_accuracy'], result['trials'])} held-out pictures, "
        f"best in epoch {result['epoch']} of {options.epochs}, {perf_counter() - start:.1f} s"
    )
