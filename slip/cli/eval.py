"""``slip eval``: how often models find what they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slip import __version__
from slip.cli import arguments as args
from slip.cli import console, refer
from slip.cli.training_arguments import DATA, DataSet, Validation
from slip.errors import UsageError
from slip.options import (
    EVAL,
    OVERLAP,
    PAPER_VIEW,
    PRESET,
    PROPOSER,
    SPLIT,
    VIEW,
    Asked,
    EvalOptions,
    PresetName,
    Protocol,
    SplitOptions,
    View,
)

if TYPE_CHECKING:
    from slip.cli.entrants import Wanted
    from slip.data.pictures import Picture, PictureSet
    from slip.evaluation.journal import Journal
    from slip.evaluation.summary import Summary
    from slip.evaluation.trials import Trial

MEASURES = "Measures"


def evaluate(
    context: typer.Context,
    dataset: DataSet,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Where trials, figures and report go. The same command in the same folder goes on "
            "where it was broken off.",
            show_default="eval-NAME",
            rich_help_panel=args.OUTPUT,
        ),
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, help="Composites of four pictures, four prompts each.", rich_help_panel=DATA)
    ] = EVAL.count,
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed, the same composites.", rich_help_panel=DATA)
    ] = EVAL.seed,
    side: Annotated[
        refer.Side | None,
        typer.Option(
            "--split",
            help="Use the held-out pictures alone, or all; of a set of parts one of its sides.",
            show_default="validation; of a set of parts test, where it has one",
            rich_help_panel=DATA,
        ),
    ] = None,
    validation: Validation = SPLIT.validation,
    split_seed: Annotated[
        int,
        typer.Option(
            min=0, help="Decides which are held out: the --seed of finetune and judge.", rich_help_panel=DATA
        ),
    ] = SPLIT.seed,
    asked: Annotated[
        Asked,
        typer.Option(
            "--ask",
            help="Prompt with the class, in the caption a fine-tuned CLIP learnt it by, or with the "
            "picture's own caption.",
            rich_help_panel=DATA,
        ),
    ] = EVAL.asked,
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="corrected, or paper: classes may repeat in a composite, and the report also counts as the "
            "paper's published code did, flaws and all.",
            rich_help_panel=MEASURES,
        ),
    ] = EVAL.protocol,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A judge, as slip judge -o NAME writes it, that names the chosen segments.",
            show_default="none: tile accuracy and IoU only",
            rich_help_panel=MEASURES,
        ),
    ] = None,
    judge_view: Annotated[
        View, typer.Option(help="How the judge is shown a segment.", rich_help_panel=MEASURES)
    ] = PAPER_VIEW,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[=NAME]",
            help="On a set of parts: measure slip (or slip=CLIP), cris=NAME, clipseg=NAME or maskrcnn=NAME, "
            "as slip finetune --method writes them; slip-best and maskrcnn-best are upper bounds. May be "
            "given again.",
            rich_help_panel=args.MODELS,
        ),
    ] = None,
    preset: Annotated[
        PresetName | None,
        typer.Option(
            help="Which models, where no others are named: tiny is built in and knows drawings.",
            show_default=f"tiny for critters, {PRESET} for all else",
            rich_help_panel=args.MODELS,
        ),
    ] = None,
    sam: args.Sam = None,
    clip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A CLIP to measure; may be given again. tiny, a fine-tuned checkpoint (.safetensors "
            "may be left out), or published weights, as in ViT-B-32/openai.",
            show_default=args.OF_PRESET,
            rich_help_panel=args.MODELS,
        ),
    ] = None,
    device: args.OnDevice = "auto",
    precision: args.InPrecision = "auto",
    proposer: args.WithProposer = PROPOSER,
    points: args.AtPoints = None,
    points_per_side: args.PointsPerSide = None,
    pred_iou_thresh: args.PredIouThresh = None,
    stability_thresh: args.StabilityThresh = None,
    overlap: args.Overlaps = OVERLAP,
    view: args.CropView = VIEW,
) -> None:
    """Measure how often CLIPs find what they are asked for, on composites of labelled pictures.

    Four pictures of different classes become the tiles of one, and each class is asked for. Measured
    are tile accuracy (the chosen segment lies in the right tile), IoU with the true mask, where the set
    has masks, and what a judge calls the chosen segment. Written are run.json, trials.jsonl,
    results.json and report.html; their paths go to standard output.

    With --method, on a set of parts: how well methods find each part by its name. Measured are mean and
    overall IoU and Precision@X; written are answers.jsonl and seconds.jsonl in place of trials.jsonl.
    """
    start = perf_counter()
    refer.check_given(context, dataset, method or [], side)
    ask = partial(
        args.how_asked,
        proposer=proposer,
        points_per_side=points_per_side,
        pred_iou_thresh=pred_iou_thresh,
        stability_thresh=stability_thresh,
        points=points,
    )
    if method:
        how = refer.Models(preset, sam, ask, proposer, overlap, view, device, precision)
        told = refer.refer(dataset, method, side, output, how)
        console.tell(f"{told}, {perf_counter() - start:.1f} s")
        return
    if protocol == "paper" and judge is None:
        raise UsageError(
            "the paper counts a judge's verdicts; name one with --judge, or leave --protocol out"
        )

    from slip.cli.entrants import Wanted, choose, find_judge
    from slip.data.drawn import CRITTERS_NAME
    from slip.evaluation.journal import check_folder

    if output:
        check_folder(output)
    models = choose(preset or ("tiny" if dataset == CRITTERS_NAME else PRESET), sam, clip or [])
    found_judge = find_judge(judge) if judge else None
    judged = found_judge, judge_view, device, precision
    wanted = Wanted(models, proposer, ask(models[0].sam), overlap, view, *judged)
    wanted.check()
    options = EvalOptions(count=count, seed=seed, protocol=protocol, asked=asked)
    held_out = None if side == "all" else SplitOptions(validation, split_seed)
    trials = _evaluate(wanted, dataset, held_out, options, output)
    console.tell(f"{trials} trials, {perf_counter() - start:.1f} s")


def _evaluate(
    wanted: Wanted, dataset: str, held_out: SplitOptions | None, options: EvalOptions, output: Path | None
) -> int:
    """Measure on composites and tell the results; returns the number of trials."""
    data = _read(dataset)
    pictures = _hold_out(wanted, data, held_out) if held_out else data.pictures
    folder = output or Path(f"eval-{data.name}")
    summary, written = _measure(wanted, data, pictures, held_out, options, folder)
    _tell(summary)
    console.emit_paths(written)
    return sum(model.scores.trials for model in summary.models)


def _read(dataset: str) -> PictureSet:
    """The data set; what of it cannot be read is told."""
    from slip.data.sets import open_set

    with console.progress() as progress:
        data = open_set(dataset, progress=progress)
    if data.unreadable:
        name, reason = data.unreadable[0]
        console.note(f"{len(data.unreadable)} unreadable, left out; the first is {name!r}, which {reason}")
    return data


def _hold_out(wanted: Wanted, data: PictureSet, options: SplitOptions) -> Sequence[Picture]:
    """The held-out side. Raises UsageError where a model was trained on pictures of it."""
    from slip.cli.entrants import check_split
    from slip.data.splits import split

    parts = split(data.pictures, options)
    check_split(wanted.trained(), data, options, parts)
    return parts.validation


def _measure(
    wanted: Wanted,
    data: PictureSet,
    pictures: Sequence[Picture],
    held_out: SplitOptions | None,
    options: EvalOptions,
    folder: Path,
) -> tuple[Summary, list[Path]]:
    """Load the models, measure what is not measured yet, write the results."""
    from slip.cli.entrants import crop_in, describe, load, load_judge
    from slip.data.composites import plan_composites
    from slip.evaluation.examples import Gallery
    from slip.evaluation.journal import Journal
    from slip.evaluation.loop import evaluate as run_trials
    from slip.evaluation.report import report
    from slip.evaluation.scores import Judging
    from slip.evaluation.summary import summarise
    from slip.evaluation.summary import to_json as summary_to_json
    from slip.outputs import to_json, write_files

    plans = plan_composites(pictures, options)
    described = describe(wanted, data, len(pictures), options)
    with console.progress() as progress:
        judge, judge_told = load_judge(wanted)
        entrants = load(wanted, described["models"], options, progress)
        split = {"side": "validation", **asdict(held_out)} if held_out else {"side": "all"}
        run: dict[str, Any] = {
            "slip": __version__,
            **described,
            "split": split,
            "judge": judge_told,
            **wanted.computing,
        }
        journal = Journal.open(folder, run)
        trials = _go_on(lambda: run_trials(plans, data, options, entrants, judge, journal, progress), journal)
        summary = summarise(run, trials)
        judging = Judging(judge_told["classes"] if judge_told else None)
        gallery = Gallery(plans, data, options, crop_in(wanted.view))
        page = report(summary, gallery.of(trials, judging))
    results = folder / "results.json", folder / "report.html"
    contents = zip(results, (to_json(summary_to_json(summary)), page), strict=True)
    return summary, [*journal.paths, *write_files(contents, overwrite=True)]


def _go_on(measure: Callable[[], list[Trial]], journal: Journal) -> list[Trial]:
    """The trials; broken off by Ctrl-C, what is kept is told."""
    with console.kept_if_broken_off("trials", journal.trials, journal.folder):
        return measure()


def _tell(summary: Summary) -> None:
    """The figures on stderr, after what a reader of them must know."""
    from slip.evaluation.tables import main_tables, notes

    console.tell_figures(notes(summary), main_tables(summary))
