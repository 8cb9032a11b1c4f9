"""What was computed once and is kept on disk: a file an entry, below ``home()/cache``.

An entry is ``<kind>/<2 digits>/<key>``: MARK, how its body is packed, the SHA-256 of kind, key, packing and
body, then the body, arrays as safetensors lays them out. It is written under another name and then renamed,
so that processes need no lock and a crash leaves at most a file nobody reads. Nothing is synchronised: an
entry that a power cut damaged fails its digest, is removed and computed again.

Writing does not look at the rest. Every so many bytes written, as drawn from the key, one writer goes
through the folder and removes what was not used for longest; that one in turn sees all that others wrote.
"""

from __future__ import annotations

import os
import re
import secrets
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from pathlib import Path
from time import time
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from slip.errors import OutputError, UsageError
from slip.home import home

Kind = Literal["segments", "crops", "texts", "digests"]

MARK = b"slip-1"
PLAIN, DEFLATED = b"p", b"z"
HEAD = len(MARK) + 1 + sha256().digest_size

WORTH_PACKING = 0.8
"""Packed bodies are kept where they are at most this share of the plain ones: masks, but not features."""

LIMIT = 2_000_000_000
"""Bytes kept unless SLIP_CACHE_SIZE says otherwise."""
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

KEPT = 7 / 8
"""Share of the limit that is left when the oldest entries go."""
ROUNDS = 64
"""How often that is expected to happen while as much as the limit is written.

From KEPT to the limit it is expected 8 times, so it comes too late once in e^8, about 3,000 times; an
entry of a 64th of the limit never passes without.
"""

PART = ".part"
"""Ends the names of files that are being written."""
ABANDONED = 3600.0
"""Seconds after which such a file belongs to a writer that crashed."""


@dataclass(frozen=True)
class Held:
    """How many entries, and their bytes."""

    entries: int
    bytes: int

    def __add__(self, other: Held) -> Held:
        return Held(self.entries + other.entries, self.bytes + other.bytes)


@dataclass(frozen=True)
class Cache:
    """Arrays by kind and key. Where the disk fails, there is nothing to find, and the work goes on.

    key: a hex digest of all that decides the content.
    limit: bytes it may hold; with 0 nothing is kept or found.
    """

    folder: Path
    limit: int = LIMIT

    @classmethod
    def open(cls) -> Cache:
        """The user's. Makes nothing yet.

        Raises UsageError for a SLIP_CACHE_SIZE that is no size, and for a SLIP_HOME that cannot be.
        """
        return cls(home() / "cache", told_limit())

    def get(self, kind: Kind, key: str) -> dict[str, NDArray[Any]] | None:
        """What was put there, not to be written to; None where there is nothing.

        What is damaged is removed.
        """
        if not self.limit:
            return None
        path = self._path(kind, key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        arrays = _unpack(data, f"{kind}/{key}")
        with suppress(OSError):
            if arrays is None:
                path.unlink()
            else:
                os.utime(path)
        return arrays

    def put(self, kind: Kind, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep arrays under a name, in place of what it held; not those that are too large for the limit."""
        if not self.limit:
            return
        data = _pack(arrays, f"{kind}/{key}")
        if len(data) > self.limit * KEPT:
            return
        path = self._path(kind, key)
        part = path.with_name(f"{secrets.token_hex(8)}{PART}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(data)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError:
            return
        if int(key[:8], 16) / 2**32 < ROUNDS * len(data) / self.limit:
            self.sweep()

    def sweep(self) -> None:
        """Remove the entries not used for longest, down to KEPT of the limit, and leftovers of crashes."""
        left = self.limit * KEPT
        for _, path, status in sorted(self._files(), key=lambda file: -file[2].st_mtime_ns):
            if path.suffix == PART:
                goes = time() - status.st_mtime > ABANDONED
            else:
                left -= status.st_size
                goes = left < 0
            if goes:
                with suppress(OSError):
                    path.unlink()

    def info(self) -> dict[Kind, Held]:
        """What there is of each kind; files that are being written count as bytes alone."""
        held: dict[Kind, Held] = dict.fromkeys(get_args(Kind), Held(0, 0))
        for kind, path, status in self._files():
            held[kind] += Held(int(path.suffix != PART), status.st_size)
        return held

    def clear(self) -> Held:
        """Remove everything; returns how much that was. Raises OutputError for what cannot be removed."""
        gone, failed = Held(0, 0), None
        for _, path, status in self._files():
            try:
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                failed = OutputError(
                    f"cannot remove {str(path)!r}: {error.strerror or error}; remove it by hand"
                )
                continue
            gone += Held(int(path.suffix != PART), status.st_size)
        if failed:
            raise failed
        return gone

    def _path(self, kind: Kind, key: str) -> Path:
        return self.folder / kind / key[:2] / key

    def _files(self) -> Iterator[tuple[Kind, Path, os.stat_result]]:
        """Entries by kind, and files that are being written or were left."""
        for kind in get_args(Kind):
            for folder, _, names in os.walk(self.folder / kind):
                for name in names:
                    with suppress(OSError):
                        yield kind, (path := Path(folder, name)), path.lstat()


def told_limit() -> int:
    """Bytes that SLIP_CACHE_SIZE allows, LIMIT where it is not set. Raises UsageError."""
    told = os.environ.get("SLIP_CACHE_SIZE", "").strip()
    if not told:
        return LIMIT
    number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?B|)", told, re.ASCII | re.IGNORECASE)
    size = float(number[1]) * UNITS[number[2].upper()] if number else inf
    if size == inf:
        raise UsageError(
            f"SLIP_CACHE_SIZE cannot be {told!r}; write a size such as 500MB or 2GB, or 0 for no cache"
        )
    return int(size)


def _pack(arrays: Mapping[str, NDArray[Any]], name: str) -> bytes:
    from safetensors.numpy import save

    plain = save({key: np.asarray(array, order="C") for key, array in arrays.items()})
    deflated = zlib.compress(plain, 1)
    how, body = (DEFLATED, deflated) if len(deflated) <= WORTH_PACKING * len(plain) else (PLAIN, plain)
    return MARK + how + _digest(name, how, body) + body


def _unpack(data: bytes, name: str) -> dict[str, NDArray[Any]] | None:
    """The arrays; None for anything but what ``_pack`` made for this name."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    at = len(MARK) + 1
    how, digest, body = data[at - 1 : at], data[at:HEAD], data[HEAD:]
    if not data.startswith(MARK) or digest != _digest(name, how, body):
        return None
    try:
        return load(zlib.decompress(body) if how == DEFLATED else body)
    except (zlib.error, SafetensorError):
        return None


def _digest(name: str, how: bytes, body: bytes) -> bytes:
    return sha256(b"\0".join((name.encode(), how, body))).digest()
