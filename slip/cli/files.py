"""Where a command's picture comes from, and what its results are called."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slip.errors import ImageError, UsageError

STANDARD = "-"
"""The name of standard input and output."""


@dataclass(frozen=True)
class Names:
    """Results are called FOLDER/STEM.KIND; the mask may have a name of its own.

    mask: None where the mask goes to standard output.
    """

    folder: Path
    stem: str
    mask: Path | None

    def beside(self, kind: str) -> Path:
        """The result of a kind, as in ``overlay.png``."""
        return self.folder / f"{self.stem}.{kind}"

    def masks(self, count: int) -> list[Path]:
        """``scene.mask.png``, ``scene.mask.2.png`` and so on; none where the mask goes to stdout."""
        if self.mask is None:
            return []
        later = (self.mask.with_suffix(f".{rank}{self.mask.suffix}") for rank in range(2, count + 1))
        return [self.mask, *later]


def read_source(image: str) -> Path | bytes:
    """What to load: the path, or the whole of standard input. Raises ImageError."""
    if image != STANDARD:
        return Path(image)
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
    if output is None or is_folder(Path(output)):
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


def is_folder(path: Path) -> bool:
    """Whether there is a folder; False also for what cannot be a path."""
    try:
        return path.is_dir()
    except OSError:  # a name too long, or a folder that may not be read
        return False


def _is_same(result: Path, image: Path) -> bool:
    try:
        return result.samefile(image)
    except OSError:  # one of them is not there, or will be refused for what it is
        return False


def write(
    contents: Iterable[tuple[Path, bytes]], planned: Iterable[Path] = (), *, overwrite: bool
) -> list[Path]:
    """Write each file whole; returns their paths. Raises UsageError, OutputError.

    planned: with ``overwrite``, those of them that are not written are removed: an earlier result
    must not pass for this one.
    """
    from slip.outputs import remove_file, write_file

    written = []
    for path, data in contents:
        write_file(path, data, overwrite=overwrite)
        written.append(path)
    if overwrite:
        for path in planned:
            if path not in written:
                remove_file(path)
    return written


def to_json(value: dict[str, Any]) -> bytes:
    """JSON for people and programs: indented, in UTF-8, ending in a line break."""
    import json

    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
