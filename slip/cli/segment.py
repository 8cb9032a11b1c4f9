"""``slip segment``: the mask of what a prompt names."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from slip.cli import arguments as args
from slip.cli import console, files
from slip.cli.process import without_collector
from slip.cli.results import Plan, Wanted
from slip.options import CAPTION, MAX_MEGAPIXELS, OVERLAP, PRESET, PROPOSER, TOP_K, VIEW

if TYPE_CHECKING:
    from slip.options import Preset
    from slip.types import Prediction


def segment(
    image: args.Picture,
    prompt: args.Prompt,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="The mask: a .png file, a folder that exists, or - for standard output. What else is "
            "asked for goes beside it; with -, beside IMAGE.",
            show_default="STEM.mask.png beside IMAGE",
            rich_help_panel=args.OUTPUT,
        ),
    ] = None,
    overlay: Annotated[
        bool,
        typer.Option(
            "--overlay",
            help="Also STEM.overlay.png: the picture with all else dimmed.",
            rich_help_panel=args.OUTPUT,
        ),
    ] = False,
    cutout: Annotated[
        bool,
        typer.Option(
            "--cutout",
            help="Also STEM.cutout.png: the found thing, all else transparent.",
            rich_help_panel=args.OUTPUT,
        ),
    ] = False,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Also STEM.json: box, area, scores, runner-ups, models, options, timings.",
            rich_help_panel=args.OUTPUT,
        ),
    ] = False,
    all_segments: Annotated[
        bool,
        typer.Option(
            "--all-segments",
            help="Also STEM.segments.png (0 background, 1 the best, 2 the next ...), and STEM.json "
            "with every segment and its mask as COCO RLE.",
            rich_help_panel=args.OUTPUT,
        ),
    ] = False,
    top_k: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Write the K best masks (the second is STEM.mask.2.png) and list K in the JSON.",
            show_default=f"1 mask, {TOP_K} in the JSON",
            rich_help_panel=args.OUTPUT,
        ),
    ] = None,
    overwrite: args.Overwrite = False,
    preset: args.Models = PRESET,
    sam: args.Sam = None,
    clip: args.Clip = None,
    clip_weights: args.ClipWeights = None,
    device: args.OnDevice = "auto",
    precision: args.InPrecision = "auto",
    proposer: args.WithProposer = PROPOSER,
    points: args.AtPoints = None,
    points_per_side: args.PointsPerSide = None,
    pred_iou_thresh: args.PredIouThresh = None,
    stability_thresh: args.StabilityThresh = None,
    overlap: args.Overlaps = OVERLAP,
    max_megapixels: args.MaxMegapixels = MAX_MEGAPIXELS,
    view: args.CropView = VIEW,
) -> None:
    """Find what PROMPT names in IMAGE and write its mask.

    The mask is white on black and of the picture's size. The paths of the
    written files go to standard output, one a line. Where nothing is found, only the JSON is
    written, and the exit code is 1.
    """
    start = perf_counter()
    plan = Plan.of(files.name_results(image, output), Wanted(overlay, cutout, json, all_segments, top_k))
    files.check(plan.paths, image, overwrite=overwrite)

    from slip.images import load_image
    from slip.pipeline.slip import Slip, check_prompt, choose_models

    check_prompt(prompt)
    models = {"sam": sam, "clip": clip, "clip_weights": clip_weights}
    chosen = choose_models(preset, **models)
    options = args.how_asked(chosen.sam, proposer, points_per_side, pred_iou_thresh, stability_thresh, points)
    picture = load_image(files.read_source(image), max_megapixels=max_megapixels)
    decoded = perf_counter()
    with console.progress() as progress:
        progress("load models", 0, 1)
        with without_collector():
            slip = Slip.load(
                preset,
                **models,
                device=device,
                precision=precision,
                proposer=proposer,
                options=options,
                overlap=overlap,
                view=view,
                progress=progress,
            )
        progress("load models", 1, 1)
        _note_models(chosen, prompt)
        loaded = perf_counter()
        prediction = slip.segment(picture, prompt, progress)

    prediction = _timed(prediction, decode=decoded - start, models=loaded - decoded)
    used = {"preset": preset, **asdict(chosen), **slip.computing, "overlap": overlap, "view": view}
    used |= {"proposer": proposer, **asdict(options)}
    contents = plan.contents(picture, prediction, models=slip.models, options=used)
    _emit(files.write(contents, plan.paths, overwrite=overwrite), prediction, to_stdout=not plan.masks)
    _conclude(prediction, perf_counter() - start)


def _note_models(models: Preset, prompt: str) -> None:
    """Say what built-in models know, and how a fine-tuned CLIP was told of what is prompted otherwise."""
    from slip.models.checkpoint import read_training
    from slip.models.checks import is_own_clip

    console.note_tiny(models.sam, models.clip)
    clip = models.clip
    training = read_training(Path(clip)) if clip != "tiny" and is_own_clip(clip) else None
    template = str((training or {}).get("caption", CAPTION))
    start, _, end = template.casefold().partition("{}")
    asked = prompt.casefold()
    if training and not (asked.startswith(start) and asked.endswith(end)):
        example = template.replace("{}", next(iter(training.get("classes") or ["..."])))
        console.note(f'{clip} was taught captions like "{example}"; ask in these words')


def _timed(prediction: Prediction, **before: float) -> Prediction:
    """With the seconds of the stages before it."""
    return replace(prediction, timings=before | dict(prediction.timings) | before)


def _emit(written: list[Path], prediction: Prediction, *, to_stdout: bool) -> None:
    """The paths of the files on standard output, or instead of them the best mask, if there is one."""
    from slip.images import encode_png
    from slip.outputs import mask_picture

    if not to_stdout:
        console.emit_paths(written)
        return
    for path in written:
        console.tell(f"wrote {path}")
    if prediction.found:
        console.emit(encode_png(mask_picture(prediction.best)))


def _conclude(prediction: Prediction, seconds: float) -> None:
    """The last line. Raises typer.Exit where nothing is found."""
    if not prediction.found:
        console.tell(
            f"nothing found for {prediction.prompt!r}; try more --points-per-side or lower thresholds"
        )
        raise typer.Exit(1)
    console.tell(console.summary(prediction, seconds))
