"""``slip weights``: what is published, what is here, and fetching it ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from slip.cli import console
from slip.errors import UsageError, WeightsError
from slip.options import PRESETS, PresetName

if TYPE_CHECKING:
    from slip.weights import Entry

app = typer.Typer(help="List, fetch and verify the published weights.")

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...", help="Entries, as `slip weights list` names them.", show_default=False
    ),
]


@app.command("list")
def list_() -> None:
    """List the weights: name, size, licence, whether they are here."""
    from slip.weights import catalogue, is_ready

    rows = [
        (
            entry.name,
            "" if entry.bytes is None else console.megabytes(entry.bytes),
            entry.licence,
            "ready" if is_ready(entry) else "not fetched",
        )
        for entry in catalogue().values()
    ]
    console.emit_table(("name", "size", "licence", "state"), rows)


@app.command()
def fetch(
    names: Names = None,
    preset: Annotated[
        PresetName | None, typer.Option(help="What this preset needs.", show_default=False)
    ] = None,
) -> None:
    """Fetch weights that are not here yet, verify them and print their paths."""
    from slip.weights import fetch as fetch_entry
    from slip.weights import lookup

    if not names and preset is None:
        raise UsageError("nothing to fetch; give names from 'slip weights list', or --preset")
    entries = [*map(lookup, names or []), *(entries_of(preset) if preset else [])]
    if not entries:
        console.tell(f"preset {preset} is built in; there is nothing to fetch")
    with console.progress() as progress:
        paths = [fetch_entry(entry, progress) for entry in dict.fromkeys(entries)]
    console.emit_paths(paths)


@app.command()
def verify(names: Names = None) -> None:
    """Compare files with their SHA-256: those named, or all that are here."""
    from slip.weights import catalogue, lookup, path_of
    from slip.weights import verify as verify_entry

    entries = [lookup(name) for name in names or []]
    entries = entries or [entry for entry in catalogue().values() if path_of(entry).is_file()]
    wrong = 0
    for entry in entries:
        try:
            with console.progress() as progress:
                verify_entry(entry, progress)
            console.emit(f"{entry.name}\tok\n".encode())
        except WeightsError as error:
            wrong += 1
            console.tell(f"error: {error}")
    console.tell(f"{len(entries) - wrong} of {len(entries)} verified")
    if wrong:
        raise typer.Exit(WeightsError.exit_code)


@app.command()
def where(names: Names = None) -> None:
    """Print where weights are or belong; without names, the folder."""
    from slip.weights import cache_dir, lookup, path_of

    console.emit_paths([path_of(lookup(name)) for name in names] if names else [cache_dir()])


def entries_of(preset: PresetName) -> list[Entry]:
    """What a preset needs of the catalogue; nothing where its weights are built in."""
    from slip.weights import lookup

    models = PRESETS[preset]
    names = [f"sam/{models.sam}", f"clip/{models.clip}/{models.clip_weights}"]
    return [] if models.clip_weights is None else [lookup(name) for name in names]
