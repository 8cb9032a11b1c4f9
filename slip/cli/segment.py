"""``slip segment``: the masks of what prompts name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import typer

from slip.batch.paths import STANDARD, is_file, is_folder, is_pattern
from slip.batch.plan import Plan, Wanted
from slip.batch.remote import is_uri
from slip.cli import arguments as args
from slip.cli import console, files
from slip.cli import segment_arguments as own
from slip.cli.many import Many, how_shared, segment_many, which_existing
from slip.cli.network import choose_search
from slip.cli.process import without_collector
from slip.cli.search import Approach, Search
from slip.errors import UsageError
from slip.options import MAX_MEGAPIXELS, OVERLAP, PRESET, PROPOSER, VIEW

if TYPE_CHECKING:
    from slip.types import Prediction


def segment(
    context: typer.Context,
    given: own.Given = None,
    prompts: own.Prompts = None,
    listed: own.FromList = None,
    max_megapixels: args.MaxMegapixels = MAX_MEGAPIXELS,
    output: own.Output = None,
    overlay: own.Overlay = False,
    cutout: own.Cutout = False,
    json: own.Json = False,
    all_segments: own.AllSegments = False,
    top_k: own.TopK = None,
    all_matches: own.AllMatches = False,
    overwrite: args.Overwrite = False,
    format_: own.InFormat = "png",
    assign: own.Assigned = None,
    label_all: own.LabelAll = False,
    skip_existing: own.SkipExisting = False,
    fail_fast: own.FailFast = False,
    engine: own.ByEngine = "plain",
    method: own.ByMethod = "slip",
    weights: own.Weights = None,
    preset: args.Models = PRESET,
    sam: args.Sam = None,
    clip: args.Clip = None,
    clip_weights: args.ClipWeights = None,
    device: args.OnDevice = "auto",
    precision: args.InPrecision = "auto",
    no_cache: own.NoCache = False,
    proposer: args.WithProposer = PROPOSER,
    points: args.AtPoints = None,
    points_per_side: args.PointsPerSide = None,
    pred_iou_thresh: args.PredIouThresh = None,
    stability_thresh: args.StabilityThresh = None,
    overlap: args.Overlaps = OVERLAP,
    view: args.CropView = VIEW,
    templates: own.Templates = None,
    negatives: own.Negatives = None,
    min_score: own.MinScore = None,
    always: own.Always = False,
) -> None:
    """Find what PROMPT names in IMAGE and write its mask.

    The mask is white on black and of the picture's size. The paths of the
    written files go to standard output, one a line. Where nothing matches, only the JSON is
    written, and the exit code is 1.

    Many pictures or prompts need a folder, -o DIR. Their results are called as the pictures are, in
    the same folders, with the prompt: DIR/sub/STEM.PROMPT.mask.png. results.jsonl has a line for
    each picture and prompt; the same command goes on where it was broken off. What fails is told at the
    end, and the exit code is then 3.
    """
    start = perf_counter()
    images, asked = _read(given or [], prompts or [], listed)
    wanted = Wanted(overlay, cutout, json, all_segments, top_k, all_matches, masks=format_ == "png")
    search = Search(
        preset=preset,
        sam=sam,
        clip=clip,
        clip_weights=clip_weights,
        device=device,
        precision=precision,
        proposer=proposer,
        points=points,
        points_per_side=points_per_side,
        pred_iou_thresh=pred_iou_thresh,
        stability_thresh=stability_thresh,
        overlap=overlap,
        view=view,
        templates=templates,
        negatives=negatives,
        min_score=min_score,
        always=always,
        cache=not no_cache,
    )
    approach = choose_search(context, method, weights, search)
    batched = engine == "ray" or format_ == "coco" or assign or label_all
    existing = which_existing(overwrite, skip_existing)
    if batched or listed or _are_many(images, asked) or (prompts and _names_folder(output)):
        sharing = how_shared(assign, label_all)
        many = Many(
            images, asked, listed, output, wanted, sharing, existing, fail_fast, max_megapixels, engine
        )
        segment_many(many, approach)
        return
    plan = Plan.of(files.name_results(images[0], output), wanted)
    if skip_existing and any(path.exists() for path in plan.masks):
        console.tell(f"{str(plan.masks[0])!r} exists and is kept")
        return
    files.check(plan.replaced if overwrite else plan.paths, images[0], overwrite=overwrite)
    prediction = _search(images[0], asked[0], plan, approach, max_megapixels, overwrite=overwrite)
    _conclude(prediction, approach.remedy, perf_counter() - start)


def _are_many(images: list[str], prompts: list[str]) -> bool:
    """Whether there is, or may be, more than one picture or prompt."""
    several = len(set(images)) > 1 or len(set(prompts)) > 1
    return several or is_folder(images[0]) or is_pattern(images[0]) or is_uri(images[0])


def _names_folder(output: str | None) -> bool:
    """Whether -o is a folder, to be made perhaps: a pattern that the shell has reduced to one picture."""
    return output not in (None, STANDARD) and Path(str(output)).suffix.lower() != ".png"


def _read(given: list[str], prompts: list[str], listed: Path | None) -> tuple[list[str], list[str]]:
    """The pictures and the prompts of the command line. Raises UsageError."""
    if prompts or listed is not None:
        if not given and listed is None:
            raise UsageError("no picture is named; name one, or a table of them with --from-list")
        return given, prompts
    if len(given) < 2:
        missing = "PROMPT" if given else "IMAGE and PROMPT"
        raise UsageError(f"missing argument {missing}; see 'slip segment --help'")
    image, prompt, *more = given
    if more:
        raise UsageError(
            f"{len(given)} arguments are too many for IMAGE and PROMPT; of several pictures, name the prompt "
            "with --prompt"
        )
    if is_file(prompt):
        raise UsageError(f"the prompt {prompt!r} is a file; name what to look for in both with --prompt")
    return [image], [prompt]


def _search(
    image: str, prompt: str, plan: Plan, search: Approach, max_megapixels: float, *, overwrite: bool
) -> Prediction:
    """Search one picture for one prompt and write what was found."""
    start = perf_counter()
    from slip.images import load_image
    from slip.outputs import write_files
    from slip.pipeline.choices import check_prompt

    check_prompt(prompt)
    search.check()
    picture = load_image(files.read_source(image), max_megapixels=max_megapixels)
    decoded = perf_counter()
    with console.progress() as progress, without_collector():
        segmenter, maker = search.start(progress)
        search.note(prompt)
        loaded = perf_counter()
        prediction = segmenter.segment(picture, prompt, progress)

    prediction = _timed(prediction, decode=decoded - start, models=loaded - decoded)
    contents = plan.contents(picture, prediction, maker)
    written = write_files(contents, plan.replaced, overwrite=overwrite)
    _emit(written, prediction, to_stdout=plan.names.mask is None)
    return prediction


def _timed(prediction: Prediction, **before: float) -> Prediction:
    """With the seconds of the stages before it."""
    return replace(prediction, timings=before | dict(prediction.timings) | before)


def _emit(written: list[Path], prediction: Prediction, *, to_stdout: bool) -> None:
    """The paths of the files on standard output, or instead of them the best mask, if there is one."""
    from slip.drawing import mask_picture
    from slip.images import encode_png

    if not to_stdout:
        console.emit_paths(written)
        return
    for path in written:
        console.tell(f"wrote {path}")
    if prediction.found:
        console.emit(encode_png(mask_picture(prediction.best)))


def _conclude(prediction: Prediction, remedy: str, seconds: float) -> None:
    """The last line. Raises typer.Exit where nothing matches."""
    if not prediction.found:
        console.tell(console.no_match(prediction, remedy))
        raise typer.Exit(1)
    console.tell(console.summary(prediction, seconds))
