"""Which pictures a batch has, where they come from, and which prompts each of them is asked."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slip.batch.names import slugs, stems
from slip.batch.paths import STANDARD, absolute, is_folder, is_pattern
from slip.batch.remote import is_uri, list_uri, path_of
from slip.errors import ImageError, UsageError
from slip.pipeline.choices import check_prompt
from slip.rows import Row, read_rows

_COLUMNS = "give the columns image and prompt"
_RESULT = re.compile(r"\.(mask(\.\d+)?|overlay|cutout|segments|labels)\.png$", re.IGNORECASE)
"""Names of what a search writes, perhaps beside its picture."""


@dataclass(frozen=True)
class Task:
    """A picture with its prompts.

    image: its path as results tell it; ``-`` for standard input.
    source: what to decode; a ``str`` is a URI.
    stem: what its results are called, relative to the folder of the results, with slashes.
    slugs: what each of its prompts is called in names.
    error: why there is nothing to decode, where that is known.
    spared: the real paths of the batch's pictures in the folder of the results: no result replaces them.
    """

    image: str
    source: Path | bytes | str
    stem: str
    slugs: Mapping[str, str]
    error: str | None = None
    spared: frozenset[str] = frozenset()

    @property
    def whole_name(self) -> str:
        """What is equal for all names of the picture."""
        return whole_name(self.image)

    @property
    def prompts(self) -> list[str]:
        """In the order in which they were given."""
        return list(self.slugs)

    def state(self) -> str | None:
        """What changes when the picture does: of a file size and time, of bytes a digest; None without it."""
        if isinstance(self.source, str):
            return None
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()[:16]
        try:
            status = self.source.stat()
        except (OSError, ValueError):  # missing, or no path at all
            return None
        return f"{status.st_size} {status.st_mtime_ns}"


def whole_name(image: str) -> str:
    """The whole path of a picture, which is equal for all its names; ``-`` and URIs as they are."""
    return image if image == STANDARD or is_uri(image) else str(absolute(Path(image)))


@dataclass(frozen=True)
class _Found:
    """A picture on the way to be a task. root: the folder that names are relative to, for its part."""

    image: str
    path: Path
    root: Path
    prompts: tuple[str, ...]
    error: str | None = None


def find_tasks(
    given: Sequence[str],
    prompts: Sequence[str],
    listed: Path | None = None,
    *,
    output: Path,
    stdin: bytes = b"",
) -> list[Task]:
    """The pictures that files, folders, patterns and ``-`` stand for, each of them once.

    Folders are searched to their depths for files named as pictures are; hidden ones and ``output``
    are left out. A URI that ends in a slash is such a folder, any other a picture. What holds no
    picture becomes a task with an error.

    listed: a table with an image and a prompt a row (CSV, JSONL; there also ``prompts``, several);
    paths are relative to its folder. Rows without a prompt are asked ``prompts``.
    stdin: the picture ``-``.

    Raises UsageError for a prompt that is none, a table that is none, pictures without prompts and
    where there is no picture at all; ImageError for a table that cannot be read.
    """
    for prompt in prompts:
        check_prompt(prompt)
    if given and not prompts:
        raise UsageError("no prompt for the pictures; name one with --prompt")
    asked = tuple(prompts)
    found = [one for name in given for one in _expand(name, asked, output)]
    if listed is not None:
        found += [
            _listed(row, asked) for row in read_rows(listed, ("image", "prompt"), [{"image"}], _COLUMNS)
        ]
    if all(one.error for one in found):
        raise UsageError(next((one.error for one in found if one.error), "no picture is named; name one"))
    return _as_tasks(_merged(found), output, stdin)


def _expand(name: str, prompts: tuple[str, ...], output: Path) -> Iterator[_Found]:
    """The pictures that one argument stands for."""
    path = Path(name)
    if name == STANDARD:
        yield _Found(name, Path("stdin.-"), Path(), prompts)
    elif is_uri(name):
        yield from _elsewhere(name, prompts)
    elif is_pattern(name):
        if Path(os.path.realpath(_fixed_part(path))).is_relative_to(os.path.realpath(output)):
            raise _is_output(name)
        yield from _found(name, _match(name, output), _fixed_part(path), prompts)
    elif is_folder(path):
        if os.path.realpath(name) == os.path.realpath(output):
            raise _is_output(name)
        yield from _found(name, _walk(path, output), path, prompts)
    else:
        yield _Found(str(path), path, path.parent, prompts)


def _is_output(name: str) -> UsageError:
    return UsageError(f"{name!r} is also where the results go; name another folder with -o")


def _found(name: str, paths: Iterable[Path], root: Path, prompts: tuple[str, ...]) -> Iterator[_Found]:
    nothing = True
    for path in paths:
        nothing = False
        yield _Found(str(path), path, root, prompts)
    if nothing:
        yield _Found(name, Path(name), root, prompts, f"{name!r} holds no pictures; check the path")


def _elsewhere(uri: str, prompts: tuple[str, ...]) -> Iterator[_Found]:
    """The picture of a URI, or those below it, where it ends in a slash."""
    place, error = path_of(uri), f"{uri!r} holds no pictures; check the URI"
    if not uri.endswith("/"):
        yield _Found(uri, place, place.parent, prompts)
        return
    try:
        listed = [found for found in list_uri(uri) if path_of(found).suffix.lower() in _suffixes()]
    except ImageError as unlisted:
        listed, error = [], str(unlisted)
    for found in listed:
        yield _Found(found, path_of(found), place, prompts)
    if not listed:
        yield _Found(uri, place, place, prompts, error)


def _walk(folder: Path, output: Path) -> Iterator[Path]:
    """The pictures below a folder, sorted, and folders that cannot be listed, which will not be decoded.

    Hidden files and earlier results are left out.
    """
    suffixes = _suffixes()
    closed: list[Path] = []
    for place, files in _folders(folder, output, lambda error: closed.append(Path(error.filename))):
        for name in sorted(files):
            told = name.startswith(".") or _RESULT.search(name)
            if not told and Path(name).suffix.lower() in suffixes:
                yield Path(place, name)
    yield from closed


def _folders(
    top: Path, output: Path, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A folder and those below it with what else is in them, each once: where links lead comes last."""
    results, tops = os.path.realpath(output), deque([top])
    entered: set[str] = set()
    while tops:
        for place, folders, files in os.walk(tops.popleft(), onerror=onerror):
            here = os.path.realpath(place)
            if here in entered:
                folders.clear()
                continue
            entered.add(here)
            folders[:] = sorted(
                name
                for name in folders
                for real in [os.path.realpath(Path(place, name))]
                if not (name.startswith(".") or real == results or Path(here).is_relative_to(real))
            )
            tops.extend(path for name in folders for path in [Path(place, name)] if path.is_symlink())
            yield place, files


def _match(pattern: str, output: Path) -> Iterator[Path]:
    """The pictures that match, sorted."""
    suffixes, results = _suffixes(), os.path.realpath(output)
    for name in sorted({str(Path(name)) for name in _glob(pattern, output)}):
        path, real = Path(name), Path(os.path.realpath(name))
        if path.suffix.lower() in suffixes and real.is_file() and not real.is_relative_to(results):
            yield path


def _glob(pattern: str, output: Path) -> Iterator[str]:
    """``glob.iglob``, but ``**`` enters no folder twice: links to each other have no end."""
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from glob.iglob(pattern)  # noqa: PTH207, as it may be absolute
        return
    deep = parts.index("**")
    above, below = str(Path(*parts[:deep])), parts[deep + 1 :] or ("*",)
    for top in glob.iglob(above):  # noqa: PTH207
        for place, _ in _folders(Path(top), output):
            yield from _glob(str(Path(glob.escape(place), *below)), output)


def _fixed_part(pattern: Path) -> Path:
    """The folder above the first part of a pattern that is one."""
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def _suffixes() -> set[str]:
    """What pictures are named, in small letters."""
    import PIL.Image

    from slip.images import FORMATS

    PIL.Image.init()
    return {suffix for suffix, name in PIL.Image.EXTENSION.items() if name in FORMATS}


def _listed(row: Row, prompts: tuple[str, ...]) -> _Found:
    """The picture of a row. Raises UsageError."""
    image = row.text("image")
    if image is None:
        raise row.bad(f"has no image; {_COLUMNS}")
    several = row.cells.get("prompts", [])
    if not isinstance(several, list):
        raise row.bad('the prompts are no list; write them as in ["a bird", "a fish"]')
    given = [row.text("prompt"), *(row.as_text("prompts", prompt) for prompt in several)]
    own = tuple(prompt for prompt in given if prompt)
    if not (own or prompts):
        raise row.bad("has no prompt; write one, or name one for all such rows with --prompt")
    if is_uri(image):
        return _Found(image, path_of(image), path_of(image).parent, own or prompts)
    folder = row.table.parent
    path = folder / image
    inside = absolute(path).is_relative_to(absolute(folder))
    return _Found(str(path), path, folder if inside else path.parent, own or prompts)


def _merged(found: Iterable[_Found]) -> list[_Found]:
    """Each picture once, with all its prompts."""
    merged: dict[str, _Found] = {}
    for one in found:
        key = whole_name(one.image)
        before = merged.setdefault(key, one)
        merged[key] = replace(before, prompts=tuple(dict.fromkeys(before.prompts + one.prompts)))
    return list(merged.values())


def _as_tasks(found: Sequence[_Found], output: Path, stdin: bytes) -> list[Task]:
    """The tasks, with names for their results relative to the folder that holds all pictures."""
    called = slugs(dict.fromkeys(prompt for one in found for prompt in one.prompts))
    relative = _relative(found)
    named = stems(relative)
    spared = _inside(found, output)
    return [
        Task(
            one.image,
            stdin if one.image == STANDARD else one.image if is_uri(one.image) else one.path,
            named[place],
            {prompt: called[prompt] for prompt in one.prompts},
            one.error,
            spared,
        )
        for one, place in zip(found, relative, strict=True)
    ]


def _inside(found: Sequence[_Found], output: Path) -> frozenset[str]:
    """The real paths of the pictures that lie in the folder of the results."""
    if not is_folder(output):
        return frozenset()
    results = os.path.realpath(output)
    real = (os.path.realpath(one.path) for one in found)
    return frozenset(path for path in real if Path(path).is_relative_to(results))


def _relative(found: Sequence[_Found]) -> list[Path]:
    """Each picture's path below the folder that holds all of them, and what was named to be searched."""
    paths = [absolute(one.path) for one in found]
    files = [place for place in zip(found, paths, strict=True) if place[0].image != STANDARD]
    folders = {absolute(one.root) for one, _ in files} | {path.parent for _, path in files}
    try:
        top = os.path.commonpath(folders) if folders else ""
    except ValueError:
        raise UsageError("the pictures lie on several drives; run a batch for each of them") from None
    return [
        one.path if one.image == STANDARD else path.relative_to(top)
        for one, path in zip(found, paths, strict=True)
    ]
