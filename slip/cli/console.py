"""What the user sees: data on stdout, everything else on stderr.

rich is imported only where it draws, so that help and errors do not wait for it.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO, cast

import typer

from slip.errors import OutputError, SlipWarning

if TYPE_CHECKING:
    from rich.progress import Progress as Display

    from slip.evaluation.tables import Table
    from slip.types import Prediction, Progress, Segment

BROKEN_PIPE = 141
"""The exit code of a command whose reader went away: 128 + SIGPIPE."""

SECONDS_PER_LINE = 10.0
"""How often a log hears of progress."""

_speaks = True


def speak(aloud: bool) -> None:
    """Whether this process tells anything on stderr: of several that work as one, one does."""
    global _speaks
    _speaks = aloud


def tell(message: str) -> None:
    """One line on stderr; line breaks become spaces, what would control the terminal is escaped.

    Where stderr cannot be written, the command goes on: its exit code tells how it ended.
    """
    if not _speaks:
        return
    try:
        print("slip:", printable(" ".join(message.split())), file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def note(message: str) -> None:
    """A line on stderr for what the user should know; the work goes on."""
    tell(f"note: {message}")


def note_tiny(*models: str) -> None:
    """Say what the built-in models know, where one of ``models`` is built in."""
    if "tiny" in models:
        note("the built-in tiny models know drawn critters, not photographs; --preset base is for those")


def emit(data: bytes) -> None:
    """Bytes on stdout, at once. Exits quietly when nobody reads them any more; raises OutputError."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        _discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(BROKEN_PIPE) from None
        raise OutputError(f"cannot write to standard output: {error.strerror}") from error


def _discard(stream: TextIO) -> None:
    """Send what is still buffered, and all that follows, nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def emit_paths(paths: Iterable[Path]) -> None:
    """Paths on stdout, one a line, byte for byte as the file system has them."""
    for path in paths:
        emit(os.fsencode(path) + b"\n")


def emit_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere a header and rows with tabs between the values."""
    if not sys.stdout.isatty():
        emit("".join("\t".join(row) + "\n" for row in (columns, *rows)).encode("utf-8", "surrogateescape"))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)


def tell_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stderr; where that is no terminal, a line a row. The first column names the rows."""
    if not sys.stderr.isatty():
        for row in rows:
            told = (f"{name} {cell}" for name, cell in zip(columns[1:], row[1:], strict=True))
            tell(f"{title}, {row[0]}: {'; '.join(told)}")
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, title=title)
    for name in columns:
        table.add_column(Text(printable(name)))
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(stderr=True).print(table)


def tell_figures(notes: Iterable[str], tables: Iterable[Table]) -> None:
    """What an evaluation found, after what a reader of it must know."""
    for line in notes:
        note(line)
    for table in tables:
        tell_table(table.title, table.columns, table.rows)


@contextmanager
def kept_if_broken_off(records: str, held: Sequence[object], folder: Path) -> Iterator[None]:
    """After Ctrl-C it is told how many records an evaluation has kept, and that it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        tell(f"{len(held)} {records} are kept in {str(folder)!r}; the same command goes on")
        raise


def summary(prediction: Prediction, seconds: float) -> str:
    """The last line of a search that found something."""
    best = prediction.best
    return (
        f"{prediction.prompt!r}: score {best.score:.3f}, {_place(best)}, "
        f"chosen of {segments(len(prediction.segments))}, {seconds:.1f} s"
    )


def no_match(prediction: Prediction, remedy: str) -> str:
    """The last line of a search that found nothing, with the way out: ``remedy`` if there is no segment."""
    candidate = prediction.candidate
    if candidate is None:
        return f"nothing found for {prediction.prompt!r}; {remedy}"
    return (
        f"no match for {prediction.prompt!r}: the best candidate scores {prediction.scores[0]:.2f} in "
        f"{_place(candidate)}, below {prediction.min_score:.2f}; --always writes it anyway, --min-score "
        "lowers the bar"
    )


def _place(segment: Segment) -> str:
    box = segment.box
    return f"box ({box.x1}, {box.y1}, {box.x2}, {box.y2})"


def segments(count: int) -> str:
    """A number of segments in words."""
    return f"{count} segment{'' if count == 1 else 's'}"


def open_streams() -> None:
    """Give closed standard streams a place to end in: none takes the number of another file."""
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115


class _BytesAlone:
    """A standard output that takes bytes, as ``emit`` writes them; text that is printed goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Take no notice."""
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def libraries_muted() -> Iterator[None]:
    """Keep off the standard streams what libraries print, also below Python; ``emit`` and ``tell`` do not."""
    streams, descriptor = (sys.stdout, sys.stderr), os.dup(2)
    sys.stdout = cast(TextIO, _BytesAlone(sys.stdout))
    sys.stderr = os.fdopen(
        descriptor, "w", buffering=1, encoding=streams[1].encoding, errors=streams[1].errors
    )
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = streams


def quiet_libraries() -> None:
    """Keep the warnings and logs of libraries off stderr; show SlipWarning as a note.

    Whoever asks for warnings (``python -W``, PYTHONWARNINGS) gets them all.
    """
    import logging

    logging.getLogger().addHandler(logging.NullHandler())
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    warnings.simplefilter("always", SlipWarning)
    warnings.showwarning = _show_warning


def printable(text: str) -> str:
    """The text with what would control the terminal escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, SlipWarning):
        note(str(message))
    else:
        print(f"{filename}:{lineno}: {category.__name__}: {message}", file=file or sys.stderr)


@contextmanager
def progress() -> Iterator[Progress]:
    """A display of the stage and the count on stderr; where that is no terminal, a line now and then."""
    if not is_watched():
        yield _log()
        return
    with drawn() as (_, show):
        yield show


def is_watched() -> bool:
    """Whether somebody sees what is drawn on stderr."""
    return _speaks and sys.stderr.isatty()


@contextmanager
def drawn() -> Iterator[tuple[Display, Progress]]:
    """A display on the terminal, a row a stage, and what moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Display

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
    )
    console = Console(stderr=True)
    with Display(
        *columns, TimeElapsedColumn(), console=console, transient=True, redirect_stdout=False
    ) as display:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = display.add_task(stage, total=None, count="")
            display.update(tasks[stage], completed=done, total=total or None, count=count(stage, done, total))

        yield display, show


def _log() -> Progress:
    """Lines like "propose 64/256": short runs stay quiet."""
    log = now_and_then()
    return lambda stage, done, total: log(lambda: f"{stage} {count(stage, done, total)}")


def now_and_then() -> Callable[[Callable[[], str]], None]:
    """Tells a line when the last was SECONDS_PER_LINE ago."""
    due = monotonic() + SECONDS_PER_LINE

    def log(line: Callable[[], str]) -> None:
        nonlocal due
        if monotonic() >= due:
            tell(line())
            due = monotonic() + SECONDS_PER_LINE

    return log


def count(stage: str, done: int, total: int) -> str:
    """Fetching and verifying count bytes, other stages points, segments or models."""
    if stage.startswith(("fetch ", "verify ")):
        return f"{megabytes(done)} of {megabytes(total)}"
    return f"{done}/{total}"


def megabytes(size: int) -> str:
    """A number of bytes for people, as "375.0 MB"."""
    return f"{size / 1e6:,.1f} MB"
