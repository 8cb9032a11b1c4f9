"""``slip cache``: what is kept between runs."""

from __future__ import annotations

import typer

from slip.cli import console

app = typer.Typer(help="See and clear what is kept between runs, so that nothing is computed twice.")


@app.command()
def info() -> None:
    """Show where it is, how much is there and how much may be.

    SLIP_CACHE_SIZE sets the limit, as in 500MB or 2GB, and 0 keeps nothing. What was not used for longest
    goes first. Of pictures and prompts only digests are kept, with masks and features.
    """
    from slip.cache import Cache

    cache = Cache.open()
    held = cache.info()
    rows = [
        ("folder", str(cache.folder)),
        ("limit", console.megabytes(cache.limit) if cache.limit else "0: nothing is kept"),
        ("size", console.megabytes(sum(each.bytes for each in held.values()))),
        *(
            (kind, f"{each.entries:,} entries, {console.megabytes(each.bytes)}")
            for kind, each in held.items()
        ),
    ]
    console.emit_table(("what", "state"), rows)


@app.command()
def clear() -> None:
    """Remove all of it and say how much that was. Weights stay."""
    from slip.cache import Cache

    gone = Cache.open().clear()
    console.tell(f"removed {gone.entries:,} entries, {console.megabytes(gone.bytes)}")
