"""Published weights: the catalogue (weights.txt), the cache, download and verification.

A file is downloaded to ``<file>.part``, checked by SHA-256 and then renamed, so whatever bears
its final name is whole. ``<file>.ok`` beside it remembers that it was checked.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from time import time
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np

from slip.cache import Cache
from slip.errors import UsageError, WeightsError
from slip.home import home
from slip.types import Progress

FIELDS = ("name", "file", "bytes", "sha256", "licence", "url")
CHUNK = 1 << 20
TIMEOUT = 30.0
"""Seconds without a byte after which the network has failed."""
SETTLED = 2.0
"""Seconds after which a change of a file is sure to show in its times, however coarse these are."""


@dataclass(frozen=True)
class Entry:
    """One line of weights.txt.

    file: its name in the cache.
    bytes: its size, None where not known.
    sha256: 64 hexadecimal digits in lower case.
    """

    name: str
    file: str
    bytes: int | None
    sha256: str
    licence: str
    url: str


def parse(text: str) -> dict[str, Entry]:
    """Read a catalogue: name to entry. Raises WeightsError that names the line."""
    entries: dict[str, Entry] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if fields := line.partition("#")[0].split():
            try:
                entry = _entry(fields)
                if any(entry.name == e.name or entry.file == e.file for e in entries.values()):
                    raise ValueError(f"the name {entry.name} or the file {entry.file} appears twice")
            except ValueError as error:
                raise WeightsError(f"weights.txt, line {number}: {error}") from None
            entries[entry.name] = entry
    return entries


def _entry(fields: list[str]) -> Entry:
    if len(fields) != len(FIELDS):
        raise ValueError(f"expected {len(FIELDS)} fields ({' '.join(FIELDS)}), found {len(fields)}")
    name, file, size, sha256, licence, url = fields
    for what, value, pattern in (
        ("file", file, r"\w[\w.-]*"),
        ("bytes", size, r"[1-9]\d*|-"),
        ("sha256", sha256, r"[0-9a-f]{64}"),
        ("url", url, r"https?://.+"),
    ):
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f"{what} cannot be {value!r}")
    return Entry(name, file, None if size == "-" else int(size), sha256, licence, url)


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Entry]:
    """Every entry by name, in the order of weights.txt (in the package, or above it in a checkout)."""
    package = Path(__file__).parent
    for path in (package / "weights.txt", package.parent / "weights.txt"):
        if path.is_file():
            return parse(path.read_text(encoding="utf-8"))
    raise WeightsError(f"weights.txt is missing from {package}; install slip again")


def lookup(name: str) -> Entry:
    """The entry of a name. Raises UsageError."""
    entries = catalogue()
    if name not in entries:
        close = get_close_matches(name, entries) or list(entries)
        raise UsageError(
            f"no weights are called {name!r}; try {', '.join(close)} ('slip weights list' has all)"
        )
    return entries[name]


def published(path: Path, progress: Progress | None = None) -> Entry | None:
    """The entry whose file this is, by its SHA-256; None for any other file.

    The file is read each time: what asks this may open it only then, and a remembered digest could be
    forged by whoever shares the cache. Raises WeightsError for a file that cannot be read.
    """
    digest = _sha256_of(path, f"verify {path.name}", progress)
    return next((entry for entry in catalogue().values() if entry.sha256 == digest), None)


def digest_of(path: Path, progress: Progress | None = None, *, cached: bool = True) -> str:
    """SHA-256 of a file, in hex.

    cached: keep it in the cache for as long as the file stays where and as it is, and have it then
    without reading the file again; else leave the cache alone.

    Raises WeightsError for a file that cannot be read.
    """
    if not cached:
        return _sha256_of(path, f"verify {path.name}", progress)
    cache = Cache.open()
    try:
        before = _state(path)
        if held := cache.get("digests", before):
            return held["sha256"].tobytes().hex()
        digest = _sha256(path, f"verify {path.name}", progress)
        settled = time() - path.stat().st_mtime > SETTLED
        if settled and _state(path) == before:
            cache.put("digests", before, {"sha256": np.frombuffer(bytes.fromhex(digest), np.uint8)})
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from None
    return digest


def _state(path: Path) -> str:
    """A digest of what changes when the file does."""
    real = path.resolve()
    status = real.stat()
    numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return hashlib.sha256(repr((os.fsencode(real), *numbers)).encode()).hexdigest()


def cache_dir() -> Path:
    """Where weights are kept: ``home()/weights``. Raises UsageError for a ``SLIP_HOME`` that cannot be."""
    return home() / "weights"


def path_of(entry: Entry) -> Path:
    """Where the file of ``entry`` is, or belongs."""
    return cache_dir() / entry.file


def offline() -> bool:
    """Whether SLIP_OFFLINE forbids the network: set, and neither empty nor 0."""
    return os.environ.get("SLIP_OFFLINE", "0") not in ("", "0")


def is_ready(entry: Entry) -> bool:
    """Whether the file is there, as far as can be told without reading it: verified, or of the right size."""
    path = path_of(entry)
    if not path.is_file():
        return False
    return _remembered(entry, path) or entry.bytes in (None, path.stat().st_size)


def verify(entry: Entry, progress: Progress | None = None) -> None:
    """Read the whole file and compare its SHA-256. Raises WeightsError: missing, unreadable or wrong."""
    path = path_of(entry)
    if not path.is_file():
        raise WeightsError(f"{entry.name} is not at {path}; {_by_hand(entry)}")
    digest = _sha256_of(path, f"verify {entry.name}", progress)
    if digest != entry.sha256:
        _note(path).unlink(missing_ok=True)
        raise WeightsError(
            f"{path} is not {entry.name}: its SHA-256 is {digest[:12]}..., expected {entry.sha256[:12]}...; "
            "remove it and fetch again"
        )
    _remember(entry, path)


def ensure(name: str, progress: Progress | None = None) -> Path:
    """Path of verified weights, fetched first where missing.

    Raises UsageError for a name that is not in the catalogue, WeightsError as ``fetch``.
    """
    return fetch(lookup(name), progress)


def fetch(entry: Entry, progress: Progress | None = None) -> Path:
    """Path of the verified file, downloaded where missing; an interrupted download goes on where it stopped.

    ``progress`` counts bytes. A file already there is verified once and never replaced.
    Raises WeightsError: offline, refused, wrong content, nowhere to write.
    """
    path = path_of(entry)
    if not path.is_file():
        _download(entry, path, progress)
    if not _remembered(entry, path):
        verify(entry, progress)
    return path


def _download(entry: Entry, path: Path, progress: Progress | None) -> None:
    from filelock import FileLock

    if offline():
        raise _unreachable(entry, "SLIP_OFFLINE is set")
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / ".lock"):
            if path.is_file():
                return
            _fill(entry, part, progress)
            digest = _sha256(part, f"verify {entry.name}", progress)
            if digest != entry.sha256:
                part.unlink()
                raise _unreachable(entry, f"the server sent another file (SHA-256 {digest[:12]}...)")
            part.replace(path)
            _remember(entry, path)
    except OSError as error:
        raise WeightsError(
            f"cannot write {entry.name} to {path.parent}: {error.strerror or error}; "
            "make room or set SLIP_HOME to another folder"
        ) from None


def _fill(entry: Entry, part: Path, progress: Progress | None) -> None:
    """Bring ``part`` to its full length."""
    done = part.stat().st_size if part.exists() else 0
    if entry.bytes is not None and done == entry.bytes:
        return
    response, done, total = _connect(entry, done)
    with response, part.open("r+b" if done else "wb") as file:
        file.seek(done)
        for chunk in _chunks(entry, response):
            file.write(chunk)
            done += len(chunk)
            if progress:
                progress(f"fetch {entry.name}", done, total or done)
    if total is not None and done != total:
        raise _unreachable(
            entry, f"the connection ended after {done:,} of {total:,} bytes; run again to go on"
        )


def _connect(entry: Entry, start: int) -> tuple[HTTPResponse, int, int | None]:
    """Ask for the file from byte ``start``: the response, where it really starts, the file's size if told."""
    headers = {"User-Agent": "slip", **({"Range": f"bytes={start}-"} if start else {})}
    try:
        response: HTTPResponse = urlopen(Request(entry.url, headers=headers), timeout=TIMEOUT)
    except (HTTPException, OSError, ValueError) as error:
        if start and isinstance(error, HTTPError) and error.code == 416:
            return _connect(entry, 0)
        raise _unreachable(entry, _reason(error)) from None
    if response.status == 206:
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if told and int(told[1]) == start and int(told[2]) == (entry.bytes or int(told[2])):
            return response, start, int(told[2])
        response.close()
        if not start:
            raise _unreachable(entry, "the server sent a part, not the whole file")
        return _connect(entry, 0)
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdigit() else entry.bytes
    if entry.bytes is not None and total != entry.bytes:
        response.close()
        raise _unreachable(entry, f"the server offers {total:,} bytes, expected {entry.bytes:,}")
    return response, 0, total


def _chunks(entry: Entry, response: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (HTTPException, OSError) as error:
        raise _unreachable(entry, f"{_reason(error)}; run again to go on") from None


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"HTTP {error.code} {error.reason}"
    cause = error.reason if isinstance(error, URLError) else error
    return " ".join(str(cause).split()) or type(cause).__name__


def _unreachable(entry: Entry, reason: str) -> WeightsError:
    return WeightsError(f"cannot fetch {entry.name}: {reason}; {_by_hand(entry)}")


def _by_hand(entry: Entry) -> str:
    return (
        f"download {entry.url} and save it as {path_of(entry)}, "
        "or use the tiny models (--preset tiny, or --from tiny), which need no download"
    )


def _sha256_of(path: Path, stage: str, progress: Progress | None) -> str:
    try:
        return _sha256(path, stage, progress)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from None


def _sha256(path: Path, stage: str, progress: Progress | None) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(stage, done, total)
    return digest.hexdigest()


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.ok")


def _stamp(entry: Entry, path: Path) -> str:
    status = path.stat()
    return f"{entry.sha256} {status.st_size} {status.st_mtime_ns}\n"


def _remember(entry: Entry, path: Path) -> None:
    with suppress(OSError):  # a cache that cannot be written is read again at each start
        _note(path).write_text(_stamp(entry, path), encoding="utf-8")


def _remembered(entry: Entry, path: Path) -> bool:
    """Whether the file was verified before and has not changed since."""
    try:
        return _note(path).read_text(encoding="utf-8") == _stamp(entry, path)
    except (OSError, UnicodeDecodeError):
        return False
