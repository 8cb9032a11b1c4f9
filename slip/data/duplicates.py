"""Which pictures are copies of each other, exactly or nearly.

Exact copies have the same decoded pixels. Near ones are told by the DCT hash of Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), section 3.2.1: the
signs of the 64 lowest frequencies of a small grey copy, against their median. It outlives another
size, format and quality, and a slightly other colour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from slip.types import Image, Progress

NEAR = 8
"""Pictures are near copies when at most this many of their 64 bits differ.

On 6,819 web pictures in 150 classes of which 24 pairs were known as copies, up to 4 bits found these
and 18 pairs more, 8 bits 89, 10 bits 159. By eye nearly all up to 8 are one drawing, scaled, recoloured
or on another ground, and from 10 on many are not.
"""
_FLAT = 8
"""Grey levels; a picture whose small copy has no more contrast says nothing by its frequencies."""
_ROWS = 1024
"""Pictures compared with all others at once."""


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of a picture to know it again.

    pixels: SHA-256 of the decoded picture. looks: 64 bits, None for a picture without contrast.
    """

    pixels: bytes
    looks: int | None


def fingerprint(image: Image) -> Fingerprint:
    """The fingerprint of a picture, ``uint8 (H, W, 3)`` RGB."""
    pixels = hashlib.sha256(repr(image.shape).encode())
    pixels.update(np.ascontiguousarray(image).data)
    return Fingerprint(pixels.digest(), _looks(image))


def _looks(image: Image) -> int | None:
    grey = cv2.cvtColor(cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    if int(grey.max()) - int(grey.min()) <= _FLAT:
        return None
    lowest = cv2.dct(grey.astype(np.float32))[1:9, 1:9].ravel()
    return int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")


def group_duplicates(
    prints: Sequence[Fingerprint],
    own: Sequence[str | None] | None = None,
    progress: Progress | None = None,
) -> list[int]:
    """The group of each picture, numbered from 0 by first appearance.

    own: what the user says of each picture: those of the same word belong together. Near copies are
    then left to the user, exact ones are not.
    progress: called as ``progress("compare pictures", done, total)``.
    """
    groups = _Groups(len(prints))
    groups.join_equal(entry.pixels for entry in prints)
    if own is not None:
        groups.join_equal(own)
    else:
        looks = [entry.looks for entry in prints]
        groups.join_equal(looks)
        last = {bits: index for index, bits in enumerate(looks) if bits is not None}
        members = list(last.values())
        for one, other in near_pairs(np.array(list(last), np.uint64), NEAR, progress):
            groups.join(members[one], members[other])
    return groups.numbers()


def near_pairs(
    hashes: NDArray[np.uint64], distance: int, progress: Progress | None = None
) -> Iterator[tuple[int, int]]:
    """The pairs of ``hashes``, ``uint64 (N,)``, that differ in at most ``distance`` bits.

    With bits as +1 and -1 the inner product of two hashes is 64 less twice their distance, so that
    one matrix product compares a batch of pictures with all that follow.
    """
    octets = hashes.astype(">u8").view(np.uint8).reshape(len(hashes), 8)
    signs = np.unpackbits(octets, axis=1).astype(np.float32) * 2 - 1
    for start in range(0, len(hashes), _ROWS):
        products = signs[start : start + _ROWS] @ signs[start:].T
        for one, other in np.argwhere(products >= 64 - 2 * distance).tolist():
            if one < other:
                yield start + one, start + other
        if progress:
            progress("compare pictures", min(start + _ROWS, len(hashes)), len(hashes))


class _Groups:
    """Disjoint sets of the numbers below ``count`` (union-find)."""

    def __init__(self, count: int) -> None:
        self.parents = list(range(count))

    def join(self, one: int, other: int) -> None:
        one, other = self._root(one), self._root(other)
        self.parents[max(one, other)] = min(one, other)

    def join_equal(self, marks: Iterable[Hashable | None]) -> None:
        """Join all that have the same mark; None is no mark."""
        first: dict[Hashable, int] = {}
        for index, mark in enumerate(marks):
            if mark is not None:
                self.join(first.setdefault(mark, index), index)

    def numbers(self) -> list[int]:
        """The group of each member, numbered by first appearance."""
        numbers: dict[int, int] = {}
        return [numbers.setdefault(self._root(index), len(numbers)) for index in range(len(self.parents))]

    def _root(self, index: int) -> int:
        while self.parents[index] != index:
            self.parents[index] = self.parents[self.parents[index]]
            index = self.parents[index]
        return index
