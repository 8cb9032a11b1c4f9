"""The command ``slip``: which commands there are, and how each of them ends.

Command modules import only typer and the defaults; what they work with, they import when called.
"""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from slip import __version__
from slip.cli import cache, console, critters, data, doctor, finetune, judge, masks, segment, weights
from slip.cli.eval import evaluate
from slip.cli.process import QuickEnd
from slip.device import is_out_of_memory
from slip.errors import SlipError

ClickException: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""Every misuse of the command line; typer has moved it between modules."""

INTERRUPTED = 130


class PlainGroup(TyperGroup):
    """A list of commands drawn without rich, whose import alone takes as long as typer's."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help as plain text."""
        self.rich_markup_mode = None
        super().format_help(ctx, formatter)


app = typer.Typer(cls=PlainGroup, rich_markup_mode="markdown", pretty_exceptions_enable=False)
app.command()(segment.segment)
app.command()(masks.masks)
app.command("eval")(evaluate)
app.command()(finetune.finetune)
app.command()(judge.judge)
app.command()(critters.critters)
app.command()(data.data)
app.add_typer(weights.app, name="weights", cls=PlainGroup)
app.add_typer(cache.app, name="cache", cls=PlainGroup)
app.command()(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"slip {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def slip(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Find the thing you name in a picture: SAM proposes segments, CLIP chooses.

    Results go to files, their paths to stdout, everything else to stderr. Exit codes: 0 found, 1
    nothing found, 2 usage, 3 unreadable or unwritable file, 4 weights unavailable, 130 interrupted.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    console.quiet_libraries()


def main() -> NoReturn:
    """The whole process of a command."""
    end = QuickEnd()
    end.exit(run())


def run() -> int:
    """Run the command line; every error a user can cause is one line and an exit code."""
    console.open_streams()
    try:
        code = app(standalone_mode=False, prog_name="slip")
    except SlipError as error:
        code = _fail(str(error), error.exit_code)
    except ClickException as error:
        code = _fail(_usage(error), 2)
    except Exception as error:  # of torch, OpenCV and Python, each of its own kind
        if not is_out_of_memory(error):
            raise
        code = _fail("out of memory; try a smaller picture, smaller models or --device cpu", 1)
    if code == INTERRUPTED:
        console.tell("interrupted")
    return int(code or 0)


def _fail(message: str, code: int) -> int:
    console.tell(f"error: {message}")
    return code


def _usage(error: Any) -> str:
    """What is wrong, without the tag of typer's validator, and where help is."""
    message = error.format_message().strip().rstrip(".").replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    see = " See" if message.endswith("?") else "; see"
    return f"{message}{see} '{context.command_path if context else 'slip'} --help'"
