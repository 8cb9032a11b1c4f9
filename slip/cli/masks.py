"""``slip masks``: every segment of a picture, without text and without CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slip.cli import arguments as args
from slip.cli import console, files
from slip.options import MAX_MEGAPIXELS, OVERLAP, PRESET, PROPOSE, ProposeOptions

if TYPE_CHECKING:
    from slip.types import Segment


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
    points_per_side: args.PointsPerSide = PROPOSE.points_per_side,
    pred_iou_thresh: args.PredIouThresh = PROPOSE.pred_iou_thresh,
    stability_thresh: args.StabilityThresh = PROPOSE.stability_thresh,
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
    picture_file, json_file = names.beside("segments.png"), names.beside("segments.json")
    files.check([picture_file, json_file], image, overwrite=overwrite)
    options = ProposeOptions(points_per_side, pred_iou_thresh, stability_thresh)

    from slip.device import resolve
    from slip.images import encode_png, load_image
    from slip.models import load_proposer
    from slip.outputs import index_picture
    from slip.pipeline.overlap import drop_overlaps
    from slip.pipeline.propose import propose_segments
    from slip.pipeline.slip import choose_models

    picture = load_image(files.read_source(image), max_megapixels=max_megapixels)
    with console.progress() as progress:
        progress("load models", 0, 1)
        chosen = choose_models(preset, sam=sam)
        proposer = load_proposer(chosen.sam, options, resolve(device, precision), progress)
        progress("load models", 1, 1)
        found = propose_segments(proposer, picture, progress)
    segments = drop_overlaps(found, overlap)

    size = picture.shape[0], picture.shape[1]
    used = {"device": device, "precision": precision, "overlap": overlap, **asdict(options)}
    told = {"image_size": size, "models": {"sam": proposer.name}, "options": used, **_report(segments)}
    contents = [(picture_file, encode_png(index_picture(segments, size)))] if segments else []
    console.emit_paths(files.write([*contents, (json_file, files.to_json(told))], overwrite=overwrite))
    if not segments:
        console.tell("no segments found; try more --points-per-side or lower thresholds")
        raise typer.Exit(1)
    console.tell(
        f"{console.segments(len(segments))}, {len(found)} before overlaps, {perf_counter() - start:.1f} s"
    )


def _report(segments: Sequence[Segment]) -> dict[str, Any]:
    """What the JSON says of the segments, in the numbering of the index picture."""
    from slip.masks import encode_rle

    return {
        "segments": [
            {
                "box": [segment.box.x1, segment.box.y1, segment.box.x2, segment.box.y2],
                "area": segment.area,
                "predicted_iou": segment.predicted_iou,
                "stability": segment.stability,
                "rle": encode_rle(segment.mask),
            }
            for segment in segments
        ]
    }
