"""``slip finetune``: teach CLIP the names of a data set."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Annotated, Any

import typer

from slip.cli import arguments as args
from slip.cli import console
from slip.cli import training_arguments as given
from slip.errors import UsageError
from slip.options import (
    CAPTION,
    FINETUNE,
    PAPER,
    PAPER_CAPTION,
    PART_OPTIONS,
    PRESET,
    PRESETS,
    SPLIT,
    Decay,
    Lock,
    Loss,
    Method,
    PartOptions,
    Recipe,
    Schedule,
    SplitOptions,
)

ONLY: dict[Recipe, tuple[str, ...]] = {
    "clip": ("from_", "weights", "segments", "loss", "schedule", "warmup", "lock", "mix", "augment"),
    "paper": ("grid", "embed_dim"),
}
"""The options that one recipe has and the other has not."""
SEARCHED = ("rate", "embed_dim")
"""The options that ``--grid`` sets itself."""
OF_PARTS = ("encoder_rate", "decay", "image_size", "expressions")
"""The options that networks of parts have and SLIP's CLIP has not."""
NOT_OF = {"clipseg": ("encoder_rate",), "maskrcnn": ("expressions",)}
"""The options that one network of parts has not."""
OF_SLIP = (
    *(name for name in ONLY["clip"] if name not in ("from_", "weights")),
    *("recipe", "grid", "embed_dim", "caption", "validation"),
)
"""The options that SLIP's CLIP has and networks of parts have not."""


def _of_recipes(option: str) -> str:
    """The default of an option, by recipe and method."""
    ways = {"clip": FINETUNE, "paper": PAPER, **{str(name): one for name, one in PART_OPTIONS.items()}}
    return ", ".join(f"{name} {getattr(options, option):g}" for name, options in ways.items())


def _of_methods(option: str) -> str:
    """The default of an option, by method."""
    return ", ".join(f"{name} {getattr(options, option):g}" for name, options in PART_OPTIONS.items())


def finetune(
    context: typer.Context,
    dataset: given.DataSet,
    output: given.Result,
    overwrite: given.Overwrite = False,
    resume: given.Resume = False,
    method: Annotated[
        Method,
        typer.Option(
            help="What learns. slip: the CLIP that ranks its segments. cris, clipseg (needs "
            "slip-segment[paper]), maskrcnn: a network that answers with a mask; DATASET then has masks of "
            "parts (see slip data).",
            rich_help_panel=args.MODELS,
        ),
    ] = "slip",
    caption: Annotated[
        str,
        typer.Option(
            help="What CLIP is told of a class, {} being its name; the paper also tried "
            f"{PAPER_CAPTION!r}. A table's captions stay as they are.",
            rich_help_panel=given.DATA,
        ),
    ] = CAPTION,
    validation: given.Validation = SPLIT.validation,
    seed: given.Seed = SPLIT.seed,
    segments: given.Segments = given.NO_SEGMENTS,
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="NAME|PATH",
            help="The CLIP to start from: tiny, base, large, an architecture of open_clip or a "
            "checkpoint of slip. tiny is built in and knows drawings; base and large are fetched at "
            "their first use. With --method, base is the published network, tiny a small one for a CPU, and "
            "an earlier result is gone on with.",
            rich_help_panel=args.MODELS,
        ),
    ] = PRESET,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="TAG|PATH",
            help="Weights for an architecture: a tag of the catalogue or a checkpoint.",
            show_default=args.OF_PRESET,
            rich_help_panel=args.MODELS,
        ),
    ] = None,
    device: args.OnDevice = "auto",
    precision: args.InPrecision = "auto",
    workers: given.Workers = None,
    recipe: Annotated[
        Recipe,
        typer.Option(
            help="clip: as the options here say; paper: ResNet-50 and DistilBERT with the paper's loss, "
            "rates and schedule (needs slip-segment[paper]).",
            rich_help_panel=given.TRAINING,
        ),
    ] = "clip",
    grid: Annotated[
        bool,
        typer.Option(
            "--grid",
            help="With --recipe paper: search its Table 1, six rates and two widths. The folder "
            "NAME.grid keeps the table and every run.",
            rich_help_panel=given.TRAINING,
        ),
    ] = False,
    embed_dim: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --recipe paper: width of the projection heads.",
            show_default=f"{PAPER.embed_dim}",
            rich_help_panel=given.TRAINING,
        ),
    ] = None,
    loss: Annotated[
        Loss,
        typer.Option(
            help="supervised: a caption that several pictures share is right for all of them; clip: "
            "open_clip's, right for its own picture alone; paper: as published.",
            rich_help_panel=given.TRAINING,
        ),
    ] = FINETUNE.loss,
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
            help="Highest learning rate; with --recipe paper that of the projection heads.",
            show_default=_of_recipes("rate"),
            rich_help_panel=given.TRAINING,
        ),
    ] = None,
    schedule: Annotated[
        Schedule,
        typer.Option(
            help="cosine: up in the warm-up, then down to nothing; plateau: down a little whenever the "
            "validation loss stands still.",
            rich_help_panel=given.TRAINING,
        ),
    ] = FINETUNE.schedule,
    warmup: Annotated[
        float,
        typer.Option(
            min=0, help="Epochs of rising rate, with --schedule cosine.", rich_help_panel=given.TRAINING
        ),
    ] = FINETUNE.warmup,
    lock: Annotated[
        Lock, typer.Option(help="A tower that is left as it is.", rich_help_panel=given.TRAINING)
    ] = FINETUNE.lock,
    mix: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the taught weights in the result; below 1 old words are kept better.",
            rich_help_panel=given.TRAINING,
        ),
    ] = FINETUNE.mix,
    augment: Annotated[
        bool,
        typer.Option(
            "--augment/--no-augment",
            help="Vary the pictures: the crops that slip segment makes, flips, colours, backgrounds.",
            rich_help_panel=given.TRAINING,
        ),
    ] = FINETUNE.augment,
    encoder_rate: Annotated[
        float | None,
        typer.Option(
            callback=given.above_zero,
            max=1,
            help="With --method: share of the rate at which encoders learn that know something already.",
            show_default=_of_methods("encoder_rate"),
            rich_help_panel=given.PARTS,
        ),
    ] = None,
    decay: Annotated[
        Decay | None,
        typer.Option(
            help="With --method: step lowers the rate to a tenth after .7 of the training, cosine smoothly.",
            show_default=PartOptions.decay,
            rich_help_panel=given.PARTS,
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=4096,
            help="With --method: side of the pictures in pixels.",
            show_default="the network's own",
            rich_help_panel=given.PARTS,
        ),
    ] = None,
    expressions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --method cris or clipseg: parts of a picture that are asked together.",
            show_default=f"{PartOptions.expressions}",
            rich_help_panel=given.PARTS,
        ),
    ] = None,
) -> None:
    """Teach CLIP what the pictures of DATASET are called, or a network where their parts are.

    NAME.safetensors is for slip segment --clip, for slip eval and for open_clip; of --method METHOD for
    slip segment --method METHOD --weights. NAME.run holds the metrics, their curves, the split and what
    --resume goes on from. Both paths go to standard output. Under torchrun several devices or machines
    train together.
    """
    start = perf_counter()
    out = given.name_result(output)
    given.check_result(out, resume=resume, overwrite=overwrite)
    check_method(context, method)
    check_recipe(context, recipe, grid=grid)
    sizes = _given(epochs=epochs, batch=batch, rate=rate, embed_dim=embed_dim)
    again = {"resume": resume, "overwrite": overwrite}
    if method != "slip":
        own = _given(encoder_rate=encoder_rate, decay=decay, image_size=image_size, expressions=expressions)
        from slip.cli.part_lessons import PartLesson

        network = PartLesson(dataset, method, from_, weights, device, precision, workers)
        told = network.give(out, replace(PART_OPTIONS[method], seed=seed, **sizes, **own), **again)
        console.tell(f"{told}, {perf_counter() - start:.1f} s")
        return
    own = _given(warmup=warmup, schedule=schedule, loss=loss, lock=lock, mix=mix, augment=augment)
    if segments != given.NO_SEGMENTS and not augment:
        raise UsageError("--segments are among the crops that --no-augment leaves out; give one of them")

    from slip.cli import lessons
    from slip.cli.training import Lesson

    lesson = Lesson(dataset, caption, SplitOptions(validation, seed), segments, device, precision, workers)
    if grid:
        told = lessons.search(lesson, out, replace(PAPER, seed=seed, **sizes), **again)
    elif recipe == "paper":
        told = lessons.teach_paper(lesson, out, replace(PAPER, seed=seed, **sizes), **again)
    else:
        options = replace(FINETUNE, seed=seed, **sizes, **own)
        told = lessons.teach(lesson, out, choose_clip(from_, weights), options, **again)
    console.tell(f"{told}, {perf_counter() - start:.1f} s")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def check_method(context: typer.Context, method: Method) -> None:
    """Raise UsageError where an option is given that the method does not have."""
    for name in NOT_OF.get(method, ()):
        if flag := args.flag_given(context, name):
            raise UsageError(f"{flag} says nothing to --method {method}; leave it out")
    for name in OF_PARTS if method == "slip" else OF_SLIP:
        if flag := args.flag_given(context, name):
            wanted = "one of the other methods" if method == "slip" else "--method slip"
            raise UsageError(f"{flag} goes with {wanted}; choose that or leave it out")


def check_recipe(context: typer.Context, recipe: Recipe, *, grid: bool) -> None:
    """Raise UsageError where an option is given that the recipe, or its search, does not have."""
    for other, names in ONLY.items():
        for name in names if other != recipe else ():
            if flag := args.flag_given(context, name):
                raise UsageError(f"{flag} goes with --recipe {other}; choose that or leave it out")
    for name in SEARCHED if grid else ():
        if flag := args.flag_given(context, name):
            raise UsageError(f"{flag} is what --grid searches; leave one of them out")


def choose_clip(name: str, weights: str | None) -> tuple[str, str | None]:
    """The CLIP to start from and its weights: those of a preset, by its name or by the CLIP's, or as said."""
    from slip.models import named_clip

    for preset, models in PRESETS.items():
        if name in (preset, models.clip):
            return models.clip, weights or models.clip_weights
    return named_clip(name), weights
