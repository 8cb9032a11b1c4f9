"""The options of ``slip segment`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from slip.cli.arguments import INPUT, MODELS, OUTPUT, RANKING
from slip.options import TOP_K, Method

BATCH = "Many pictures or prompts"
Format = Literal["png", "coco"]
Assign = Literal["one-to-one"]
Engine = Literal["plain", "ray"]

Given = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGE PROMPT | IMAGES...",
        help='The picture and what to look for, as in "a striped bird"; with --prompt or --from-list '
        "pictures alone: files, folders, patterns, URIs (s3://...). - is a picture on standard input.",
        show_default=False,
    ),
]

Prompts = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt",
        metavar="PROMPT",
        help="What to look for; may be given again.",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]

FromList = Annotated[
    Path | None,
    typer.Option(
        "--from-list",
        metavar="FILE",
        help="CSV with the columns image and prompt, or JSONL with image and prompt or prompts; paths are "
        "relative to it. Rows without a prompt are asked those of --prompt.",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]

Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="The mask: a .png file, a folder that exists, or - for standard output. What else is "
        "asked for goes beside it; with -, beside IMAGE. Of many pictures or prompts, or with --prompt: a "
        "folder.",
        show_default="STEM.mask.png beside IMAGE",
        rich_help_panel=OUTPUT,
    ),
]

Overlay = Annotated[
    bool,
    typer.Option(
        "--overlay",
        help="Also STEM.overlay.png: the picture with all else dimmed.",
        rich_help_panel=OUTPUT,
    ),
]

Cutout = Annotated[
    bool,
    typer.Option(
        "--cutout",
        help="Also STEM.cutout.png: the found thing, all else transparent.",
        rich_help_panel=OUTPUT,
    ),
]

Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Also STEM.json: box, area, scores, runners-up, models, options, timings.",
        rich_help_panel=OUTPUT,
    ),
]

AllSegments = Annotated[
    bool,
    typer.Option(
        "--all-segments",
        help="Also STEM.segments.png (0 background, 1 the best, 2 the next ...), and STEM.json "
        "with every segment and its mask as COCO RLE.",
        rich_help_panel=OUTPUT,
    ),
]

TopK = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="K",
        help="Write the masks of the K best matches (the second is STEM.mask.2.png) and list K in the JSON.",
        show_default=f"1 mask, {TOP_K} in the JSON",
        rich_help_panel=OUTPUT,
    ),
]

AllMatches = Annotated[
    bool,
    typer.Option(
        "--all-matches",
        help="Write the mask of every match: STEM.mask.png, STEM.mask.2.png ...",
        rich_help_panel=OUTPUT,
    ),
]

ByMethod = Annotated[
    Method,
    typer.Option(
        "--method",
        help="slip: SAM proposes, CLIP chooses. cris, clipseg or maskrcnn: a network that was taught "
        'parts, as in "front left door" (slip finetune --method).',
        rich_help_panel=MODELS,
    ),
]

Weights = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|PATH",
        help="With another --method: what slip finetune --method wrote.",
        show_default=False,
        rich_help_panel=MODELS,
    ),
]

Negatives = Annotated[
    list[str] | None,
    typer.Option(
        "--negative",
        metavar="TEXT",
        help="What a segment may show instead, besides what CLIP knows of that; may be given again.",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]

Templates = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        metavar="TEXT",
        help='What the prompt is put into at {}, as in "a photo of {}"; of several the mean. {} alone is '
        "the bare prompt.",
        show_default="as stored with CLIP",
        rich_help_panel=RANKING,
    ),
]

MinScore = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Segments with a lower score are no match.",
        show_default="as stored with CLIP",
        rich_help_panel=RANKING,
    ),
]

Always = Annotated[
    bool,
    typer.Option(
        "--always", help="Take the best segment whatever its score: --min-score 0.", rich_help_panel=RANKING
    ),
]

NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        help="Compute all anew and keep nothing for the next time (see slip cache).",
        rich_help_panel=MODELS,
    ),
]

InFormat = Annotated[
    Format,
    typer.Option(
        "--format",
        help="coco puts the masks of all pictures into one file, coco.json, as RLE.",
        rich_help_panel=BATCH,
    ),
]

Assigned = Annotated[
    Assign | None,
    typer.Option(
        "--assign",
        help="one-to-one gives each prompt a segment of its own, so that together they fit best.",
        show_default="each its best",
        rich_help_panel=BATCH,
    ),
]

LabelAll = Annotated[
    bool,
    typer.Option(
        "--label-all",
        help="Name every segment with its best prompt: STEM.labels.png (0 background, N the Nth segment) and "
        "STEM.labels.json instead of masks.",
        rich_help_panel=BATCH,
    ),
]

SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Pass over what is there already, made by whatever settings; without it, a rerun passes over "
        "what the same settings have made.",
        rich_help_panel=BATCH,
    ),
]

ByEngine = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="ray shares the pictures among the workers of a Ray cluster: the one that RAY_ADDRESS or "
        'ray start names, else this machine. Needs pip install "slip-segment[ray]".',
        rich_help_panel=BATCH,
    ),
]

FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Stop at the first failure.", rich_help_panel=BATCH)
]
