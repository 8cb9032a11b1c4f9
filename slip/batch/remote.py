"""Pictures that are named by a URI: s3://, gs://, file:// and all else that pyarrow and fsspec open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from slip.errors import ImageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


def is_uri(name: str) -> bool:
    """Whether a name is a URI. Paths are none, also those of a Windows drive."""
    return _SCHEME.match(name) is not None


def path_of(uri: str) -> Path:
    """A path that says where a URI lies among others, and is good for nothing else."""
    scheme, _, rest = uri.partition("://")
    return Path("/", f"{scheme}:", *rest.split("/"))


def read_uri(uri: str) -> bytes:
    """The bytes of a file. Raises ImageError."""
    with _refusing(uri):
        filesystem, path = _open(uri)
        with filesystem.open_input_stream(path, compression=None) as stream:
            return bytes(stream.read())


def list_uri(uri: str) -> list[str]:
    """The files below a folder, to its depths, sorted; hidden ones are left out. Raises ImageError.

    uri: ends in a slash.
    """
    with _refusing(uri):
        from pyarrow.fs import FileSelector, FileType, PyFileSystem

        filesystem, folder = _open(uri)
        found = filesystem.get_file_info(FileSelector(folder, recursive=True))
        files = (PurePosixPath(one.path) for one in found if one.type == FileType.File)
        below = sorted(path.relative_to(folder) for path in files)
        plain = isinstance(filesystem, PyFileSystem)  # fsspec knows no escapes
        return [
            uri + (str(path) if plain else quote(str(path)))
            for path in below
            if not any(part.startswith(".") for part in path.parts)
        ]


def _open(uri: str) -> tuple[FileSystem, str]:
    from pyarrow import ArrowInvalid
    from pyarrow.fs import FileSystem

    opened: tuple[FileSystem, str]
    try:
        opened = FileSystem.from_uri(uri)
    except ArrowInvalid:  # a scheme that pyarrow leaves to fsspec
        opened = FileSystem.from_uri(f"fsspec+{uri}")
    return opened


@contextmanager
def _refusing(uri: str) -> Iterator[None]:
    """Turn whatever a file system raises into one ImageError; each has errors of its own."""
    if find_spec("pyarrow") is None:
        raise ImageError(
            f'reading {uri!r} needs pyarrow, which is not installed; run: pip install "slip-segment[ray]"'
        )
    try:
        yield
    except FileNotFoundError:
        raise ImageError(f"{uri!r} does not exist; check the URI") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"cannot read {uri!r}: {reason}; check the URI") from error
