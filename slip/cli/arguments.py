"""The options that commands share, each declared once; the defaults are those of ``slip.options``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from slip.options import (
    OWN_PROPOSE,
    PROPOSE,
    Device,
    Overlap,
    Points,
    PointsWithoutText,
    Precision,
    PresetName,
    ProposeOptions,
    ProposerName,
    View,
    propose_options,
)

INPUT = "Input"
MODELS = "Models"
OUTPUT = "Output"
PROPOSALS = "Proposals"
RANKING = "Ranking"

OF_PRESET = "the preset's"
"""How --help shows a default that the preset decides."""


def _of_sams(option: str) -> str:
    """The default of an option of the search, and where a SAM has its own."""
    usual = getattr(PROPOSE, option)
    own = {name: getattr(options, option) for name, options in OWN_PROPOSE.items()}
    return ", ".join([str(usual), *(f"{name} {value}" for name, value in own.items() if value != usual)])


def how_asked(
    sam: str,
    proposer: ProposerName,
    points_per_side: int | None,
    pred_iou_thresh: float | None,
    stability_thresh: float | None,
    points: Points | None,
) -> ProposeOptions:
    """How a SAM is asked: as suits it and the proposer, but for what is given. Raises UsageError."""
    from slip.models import check_options

    usual = propose_options(sam, proposer)
    options = usual.but(points_per_side, pred_iou_thresh, stability_thresh, points)
    check_options(options, proposer)
    return options


def flag_given(context: typer.Context, name: str) -> str | None:
    """The flag by which the command line gives a parameter; None where it does not."""
    source = context.get_parameter_source(name)
    if source is None or source.name != "COMMANDLINE":
        return None
    option = next(one for one in context.command.params if one.name == name)
    flags = option.secondary_opts if context.params[name] is False and option.secondary_opts else option.opts
    return flags[0]


Picture = Annotated[
    str,
    typer.Argument(metavar="IMAGE", help="The picture; - reads it from standard input.", show_default=False),
]

Prompt = Annotated[
    str,
    typer.Argument(metavar="PROMPT", help='What to look for, as in "a striped bird".', show_default=False),
]

Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace results that exist already; remove those that this search has none for.",
        rich_help_panel=OUTPUT,
    ),
]

MaxMegapixels = Annotated[
    float, typer.Option(help="Refuse pictures larger than this.", rich_help_panel=INPUT)
]

Models = Annotated[
    PresetName,
    typer.Option(
        "--preset",
        help="Which models: tiny is built in and knows drawings, not photographs; base and large are "
        "fetched at their first use.",
        rich_help_panel=MODELS,
    ),
]

Sam = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|PATH",
        help="Another SAM: vit_b, vit_l, vit_h, tiny or a checkpoint.",
        show_default=OF_PRESET,
        rich_help_panel=MODELS,
    ),
]

Clip = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|PATH",
        help="Another CLIP: tiny, an architecture of open_clip or a checkpoint of slip.",
        show_default=OF_PRESET,
        rich_help_panel=MODELS,
    ),
]

ClipWeights = Annotated[
    str | None,
    typer.Option(
        metavar="TAG|PATH",
        help="Weights for that architecture: a tag of the catalogue or a checkpoint.",
        show_default=OF_PRESET,
        rich_help_panel=MODELS,
    ),
]

OnDevice = Annotated[Device, typer.Option(help="Where the models run.", rich_help_panel=MODELS)]

InPrecision = Annotated[
    Precision, typer.Option(help="Number format the models compute in.", rich_help_panel=MODELS)
]

WithProposer = Annotated[
    ProposerName,
    typer.Option(
        "--proposer",
        help="How SAM is searched: fast, or reference, which is segment_anything's own generator, for "
        "comparison.",
        rich_help_panel=PROPOSALS,
    ),
]

PointsPerSide = Annotated[
    int | None,
    typer.Option(
        min=1,
        show_default=_of_sams("points_per_side"),
        help="SAM is asked at a grid of this many points a side: more find smaller things and take longer.",
        rich_help_panel=PROPOSALS,
    ),
]

WHOLE_GRID = (
    "exhaustive asks SAM at every point of the grid; adaptive leaves out those deep inside a mask "
    "that another one gave"
)


def _at_points(explained: str) -> Any:
    return typer.Option(
        "--points",
        show_default=f"{PROPOSE.points}, exhaustive with --proposer reference",
        help=explained,
        rich_help_panel=PROPOSALS,
    )


AtPoints = Annotated[
    Points | None,
    _at_points(f"{WHOLE_GRID}; guided asks only where the prompt is likely to be found, and may miss it."),
]

AtPointsWithoutText = Annotated[PointsWithoutText | None, _at_points(f"{WHOLE_GRID}.")]

PredIouThresh = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        show_default=_of_sams("pred_iou_thresh"),
        help="Drop segments SAM trusts less than this.",
        rich_help_panel=PROPOSALS,
    ),
]

StabilityThresh = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        show_default=_of_sams("stability_thresh"),
        help="Drop segments whose outline is less stable than this.",
        rich_help_panel=PROPOSALS,
    ),
]

Overlaps = Annotated[
    Overlap,
    typer.Option(
        "--overlap",
        help="What becomes of overlapping segments: nms drops near-duplicates and keeps parts inside "
        "wholes; paper drops what lies inside a larger one; none keeps all.",
        rich_help_panel=PROPOSALS,
    ),
]

CropView = Annotated[
    View,
    typer.Option(
        "--view",
        help="How CLIP sees a segment: cut out on black, squashed to a square or letterboxed; on blurred or "
        "darkened surroundings; as the box it lies in (raw), or a wider one (context). ensemble takes the "
        "mean of black, context and raw.",
        rich_help_panel=RANKING,
    ),
]
