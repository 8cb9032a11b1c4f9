"""``slip critters``: sets of drawn creatures with exact masks, as files."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from slip import __version__
from slip.cli import console
from slip.errors import OutputError, UsageError
from slip.options import CRITTER_COUNTS, CRITTERS, CritterOptions, Layout, Style

NOTE = "critters.json"
"""The file of a set that says what it was drawn with."""


def critters(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to draw into; made if missing.")],
    layout: Annotated[
        Layout,
        typer.Option(help="scenes of several critters with annotations, or class folders of portraits."),
    ] = CRITTERS.layout,
    count: Annotated[
        int | None,
        typer.Option(
            help="How many scenes, or portraits of each species.",
            show_default=f"{CRITTER_COUNTS['scenes']} scenes, {CRITTER_COUNTS['folders']} portraits",
        ),
    ] = CRITTERS.count,
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels.")] = CRITTERS.size,
    seed: Annotated[int, typer.Option(help="The same seed, the same pictures.")] = CRITTERS.seed,
    style: Annotated[
        Style, typer.Option(help="picture on a background, or artwork on white.")
    ] = CRITTERS.style,
    critters: Annotated[int, typer.Option(help="Critters in a scene.")] = CRITTERS.critters,
    distractors: Annotated[int, typer.Option(help="Other things in a scene.")] = CRITTERS.distractors,
) -> None:
    """Draw creatures of 151 made-up species, with the truth about them.

    Scenes: images/, index pictures of objects/ and parts/, and annotations.json in COCO's form with
    captions. Folders: one a species. Drawn again with the same options, a set that was interrupted
    is completed. The folder's path goes to standard output.
    """
    start = perf_counter()
    from slip.data.critters.layouts import count_files, draw_files, parameters
    from slip.outputs import write_file

    options = CritterOptions(layout, count, size, seed, style, critters, distractors)
    open_set(out, {"slip": __version__, **parameters(options)})
    total, drawn = count_files(options), 0
    with console.progress() as progress:
        for done, file in enumerate(draw_files(options)):
            progress("draw", done, total)
            path = out / file.path
            if not is_drawn(path):
                make_folder(path.parent)
                write_file(path, file.content(), overwrite=False)
                drawn += 1
    console.emit_paths([out])
    there = f", {total - drawn} there already" if drawn < total else ""
    console.tell(f"{drawn} files drawn{there}, {perf_counter() - start:.1f} s")


def open_set(folder: Path, wanted: dict[str, Any]) -> None:
    """Begin a set in a new or empty folder, or go on with the same one.

    Raises UsageError for a folder with anything else in it, OutputError.
    """
    from slip.outputs import to_json, write_file

    note = folder / NOTE
    make_folder(folder)
    if is_empty(folder):
        write_file(note, to_json(wanted), overwrite=False)
        return
    held = read_note(note)
    differing = [
        f"{name} {held.get(name)}, not {value}" for name, value in wanted.items() if held.get(name) != value
    ]
    if differing:
        raise UsageError(f"{str(folder)!r} was drawn with {'; '.join(differing)}; choose another folder")


def read_note(note: Path) -> dict[str, Any]:
    """What the set of a folder was drawn with. Raises UsageError where there is no set."""
    import json

    try:
        held = json.loads(note.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"{str(note.parent)!r} is not empty and holds no set; choose another folder"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(note)!r} cannot be read: {error}; choose another folder") from error
    if not isinstance(held, dict):
        raise UsageError(f"{str(note)!r} was not written by slip; choose another folder")
    return held


def make_folder(folder: Path) -> None:
    """Make a folder and those above it. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from error


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing. Raises OutputError."""
    try:
        return not any(folder.iterdir())
    except OSError as error:
        raise _unusable(folder, error) from error


def is_drawn(path: Path) -> bool:
    """Whether a file of the set is there. Raises OutputError."""
    try:
        return path.is_file()
    except OSError as error:
        raise _unusable(path.parent, error) from error


def _unusable(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot draw into {str(folder)!r}: {error.strerror or error}; choose another folder")
