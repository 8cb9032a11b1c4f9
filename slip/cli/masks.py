"""``slip masks``: every segment of a picture, without text and without CLIP."""

from __future__ import annotations

from dataclasses import asdict
from time import perf_counter
from typing import Annotated

import typer

from slip import __version__
from slip.cli import arguments as args
from slip.cli import console, files
from slip.cli.process import without_collector
from slip.options import MAX_MEGAPIXELS, OVERLAP, PRESET, PROPOSER


def masks(
    image: args.Picture,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Where to write.",
            show_default="beside IMAGE",
            rich_help_panel=args.OUTPUT,
        ),
    ] = None,
    overwrite: args.Overwrite = False,
    preset: args.Models = PRESET,
    sam: args.Sam = None,
    device: args.OnDevice = "auto",
    precision: args.InPrecision = "auto",
    proposer: args.WithProposer = PROPOSER,
    points: args.AtPointsWithoutText = None,
    points_per_side: args.PointsPerSide = None,
    pred_iou_thresh: args.PredIouThresh = None,
    stability_thresh: args.StabilityThresh = None,
    overlap: args.Overlaps = OVERLAP,
    max_megapixels: args.MaxMegapixels = MAX_MEGAPIXELS,
) -> None:
    """Write every segment of IMAGE, without any text.

    STEM.segments.png is 0 in the background and N in the Nth segment; STEM.segments.json has boxes,
    areas, SAM's own estimates and the masks as COCO RLE. The paths of the
    written files go to standard output, one a line. Where nothing is found, only the JSON is
    written, and the exit code is 1.
    """
    start = perf_counter()
    names = files.name_in_folder(image, output)
    results = picture_file, json_file = names.beside("segments.png"), names.beside("segments.json")
    files.check(results, image, overwrite=overwrite)

    from slip.device import resolve_for_sam
    from slip.drawing import index_picture
    from slip.images import encode_png, load_image
    from slip.models import load_proposer
    from slip.outputs import describe, to_json, write_files
    from slip.pipeline.choices import choose_models
    from slip.pipeline.overlap import drop_overlaps
    from slip.pipeline.propose import at_size_of, search

    chosen = choose_models(preset, sam=sam)
    options = args.how_asked(chosen.sam, proposer, points_per_side, pred_iou_thresh, stability_thresh, points)
    picture = load_image(files.read_source(image), max_megapixels=max_megapixels)
    with console.progress() as progress:
        progress("load models", 0, 1)
        with without_collector():
            compute = resolve_for_sam(chosen.sam, device, precision)
            searcher = load_proposer(chosen.sam, options, compute, progress, proposer)
        progress("load models", 1, 1)
        console.note_tiny(chosen.sam)
        found = search(searcher, picture, progress)
    segments = at_size_of(picture, drop_overlaps(found, overlap))

    size = picture.shape[0], picture.shape[1]
    used = {"preset": preset, "sam": chosen.sam, **asdict(compute), "overlap": overlap}
    used |= {"proposer": proposer, **asdict(options)}
    told = {"version": __version__, "image_size": size, "models": {"sam": searcher.name}, "options": used}
    told["segments"] = [describe(segment, with_rle=True) for segment in segments]
    contents = [(picture_file, encode_png(index_picture(segments, size)))] if segments else []
    contents.append((json_file, to_json(told)))
    console.emit_paths(write_files(contents, results, overwrite=overwrite))
    _conclude(len(segments), len(found), perf_counter() - start)


def _conclude(kept: int, found: int, seconds: float) -> None:
    """The last line. Raises typer.Exit where nothing is found."""
    if not kept:
        console.tell("no segments found; try more --points-per-side or lower thresholds")
        raise typer.Exit(1)
    console.tell(f"{console.segments(kept)}, {found} before overlaps, {seconds:.1f} s")
