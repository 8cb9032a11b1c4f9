"""Where a command's picture comes from, and what its results are called."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from slip.batch.names import Names
from slip.batch.paths import STANDARD, is_folder
from slip.errors import ImageError, UsageError


def read_source(image: str) -> Path | bytes:
    """What to load: the path, or the whole of standard input. Raises ImageError."""
    return read_stdin() if image == STANDARD else Path(image)


def read_stdin() -> bytes:
    """The whole of standard input. Raises ImageError."""
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise ImageError(f"cannot read standard input: {error.strerror}; name a file instead") from error


def name_results(image: str, output: str | None) -> Names:
    """Names after IMAGE, or after OUTPUT: a .png file, a folder, or - for standard output.

    Raises UsageError where there is nothing to name a result after, and for a terminal that
    would be sent a picture.
    """
    if output == STANDARD:
        if sys.stdout.isatty():
            raise UsageError("-o - would send a picture to the terminal; pipe it or redirect it")
        return Names(Path(image).parent, _stem(image), None)
    if output is None or is_folder(output):
        folder = folder_of(image, output)
        return Names(folder, _stem(image), folder / f"{_stem(image)}.mask.png")
    mask = Path(output)
    if mask.suffix.lower() != ".png":
        raise UsageError(
            f"{output!r} is neither a folder that exists nor the name of a .png file, the format of masks"
        )
    return Names(mask.parent, mask.stem.removesuffix(".mask"), mask)


def name_in_folder(image: str, folder: str | None) -> Names:
    """Names after IMAGE in ``folder``, or beside IMAGE. Raises UsageError where there is no name."""
    return Names(folder_of(image, folder), _stem(image), None)


def folder_of(image: str, output: str | None) -> Path:
    """The folder of the results: ``output`` or that of IMAGE."""
    if output is not None:
        return Path(output)
    if image == STANDARD:
        raise UsageError("a picture from standard input has no folder; say with -o where its results go")
    return Path(image).parent


def _stem(image: str) -> str:
    return "stdin" if image == STANDARD else Path(image).stem


def check(results: Iterable[Path], image: str, *, overwrite: bool) -> None:
    """Refuse, before any work, results that could not be written or would replace IMAGE itself.

    Raises UsageError and OutputError.
    """
    from slip.outputs import check_outputs

    results = list(results)
    for result in results:
        if image != STANDARD and _is_same(result, Path(image)):
            raise UsageError(f"{str(result)!r} is the picture itself; choose another -o")
    check_outputs(results, overwrite=overwrite)


def _is_same(result: Path, image: Path) -> bool:
    try:
        return result.samefile(image)
    except OSError:  # one of them is not there, or will be refused for what it is
        return False
