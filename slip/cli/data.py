"""``slip data``: what a data set holds, before anything is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from slip.cli import console
from slip.errors import UsageError

if TYPE_CHECKING:
    from slip.data.parts import PartSet
    from slip.data.pictures import PictureSet

SHEETS = (".png", ".jpg", ".jpeg")
NAMED = 3
"""Of what was left out, so many are named for each reason."""


def data(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="critters-parts, a folder or a .json with annotations of parts in COCO's form, or what "
            "`slip finetune` takes: class folders, a .csv or .jsonl table, critters.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Also draw some pictures with their parts into this .png or .jpg."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the sheet.")] = False,
) -> None:
    """Tell what a data set holds: sides, parts and how to ask for them, and what is broken in it.

    Sets with masks of parts are folders with annotations in COCO's form, three levels down at most:
    images, annotations (polygons or RLE) and categories, of which a supercategory is what has the part
    ("wing" of "bird"). Where the path of the .json says train, val or test, that is its side; where there
    is no validation, a fifth of the training pictures is held out. PartImageNet is read as it comes.

    The tables go to standard output. What is broken was left out, and is left out by every command.
    """
    from slip.data.parts import is_parts, open_parts
    from slip.data.sets import open_set

    start = perf_counter()
    parted = is_parts(dataset)
    if output is not None:
        check_sheet(output, parted, overwrite=overwrite)
    with console.progress() as progress:
        found = open_parts(dataset, progress) if parted else None
        classes = None if parted else open_set(dataset, progress=progress)
    if found is not None:
        tell_parts(found)
        if output is not None:
            write_sheet(found, output, overwrite=overwrite)
    if classes is not None:
        tell_classes(classes)
    console.tell(f"{perf_counter() - start:.1f} s")


def check_sheet(path: Path, parted: bool, *, overwrite: bool) -> None:
    """Refuse, before any work, a sheet that could not be written. Raises UsageError and OutputError."""
    from slip.outputs import check_outputs

    if not parted:
        raise UsageError("-o draws parts, and this data set has none; leave it out")
    if path.suffix.lower() not in SHEETS:
        raise UsageError(f"{str(path)!r} is no name for a sheet; end it in .png or .jpg")
    check_outputs([path], overwrite=overwrite)


def write_sheet(data: PartSet, path: Path, *, overwrite: bool) -> None:
    """Draw some pictures of a set with their parts, and tell where."""
    from slip.data.parts.sheet import part_sheet
    from slip.images import encode_jpeg, encode_png
    from slip.outputs import write_file

    with console.progress() as progress:
        sheet = part_sheet(data, progress)
    encode = encode_png if path.suffix.lower() == ".png" else encode_jpeg
    write_file(path, encode(sheet), overwrite=overwrite)
    console.tell(f"sheet in {str(path)!r}")


def tell_parts(data: PartSet) -> None:
    """The tables of a set of parts: sides, parts, faults."""
    from slip.data.parts.statistics import part_statistics

    with console.progress() as progress:
        told = part_statistics(data, progress)
    sides = [(one.side, str(one.pictures), str(one.triples)) for one in told.sides]
    console.emit_table(("side", "pictures", "triples"), sides)
    rows = [
        (
            console.printable(one.part.owner),
            console.printable(one.part.name),
            *(str(count) for count in one.pictures.values()),
            f"{100 * one.share:.2f}",
            console.printable("; ".join(one.wordings)),
        )
        for one in told.parts
    ]
    console.emit(b"\n")
    console.emit_table(("owner", "part", "train", "validation", "test", "median area %", "asked as"), rows)
    faults = [(one.kind, one.count, one.first) for one in told.faults]
    tell_faults(faults)


def tell_classes(data: PictureSet) -> None:
    """The tables of a set of labelled pictures: numbers, classes, what cannot be read."""
    groups = len({picture.group for picture in data.pictures})
    console.emit_table(
        ("pictures", "classes", "copies", "left out"),
        [
            tuple(
                map(
                    str,
                    (
                        len(data.pictures),
                        len(data.classes),
                        len(data.pictures) - groups,
                        len(data.unreadable),
                    ),
                )
            )
        ],
    )
    counts = Counter(picture.label for picture in data.pictures)
    console.emit(b"\n")
    console.emit_table(
        ("class", "pictures"), [(console.printable(label), str(counts[label])) for label in data.classes]
    )
    places: dict[str, list[str]] = defaultdict(list)
    for name, reason in data.unreadable:
        places[reason].append(name)
    tell_faults([(kind, len(own), tuple(own[:NAMED])) for kind, own in sorted(places.items())])


def tell_faults(faults: list[tuple[str, int, tuple[str, ...]]]) -> None:
    """A table of what was left out: its kind, how often, and where first; none where nothing was."""
    if not faults:
        console.note("nothing is broken")
        return
    rows = [
        (
            console.printable(kind),
            str(count),
            console.printable(", ".join(first) + (", ..." if count > len(first) else "")),
        )
        for kind, count, first in faults
    ]
    console.emit(b"\n")
    console.emit_table(("left out", "times", "first"), rows)
