"""Pictures whose parts are known: what every set of them offers to training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from slip.data.pictures import Side as Side
from slip.types import Image, Mask

SIDES: tuple[Side, ...] = ("train", "validation", "test")


@dataclass(frozen=True, order=True)
class Part:
    """A category of parts, in plain words.

    category: unique in the set, as "bird wing": what reports call it. name: "wing".
    owner: what has it, as "bird"; empty where the set does not say.
    """

    category: str
    name: str
    owner: str = ""


@dataclass(frozen=True)
class PartPicture:
    """One picture of a set; its pixels and masks are asked of the set.

    name: unique in the set: the path relative to the set's folder, with slashes.
    side: what the set uses it for.
    subject: what it shows, as "blue striped bird"; empty where the set does not say.
    parts: the parts it shows, sorted; at least one.
    """

    name: str
    side: Side
    subject: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Fault:
    """Something broken in a set, and left out. kind: for counting, as "short polygon"; where: a name."""

    kind: str
    where: str


class PartSet(Protocol):
    """Pictures with the masks of their parts, decoded or drawn when they are asked for."""

    @property
    def name(self) -> str:
        """What reports call the set."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every part there is, sorted."""
        ...

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is broken and was left out."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides pictures, parts and masks, in hex."""
        ...

    def pictures(self, side: Side) -> tuple[PartPicture, ...]:
        """Those of a side, sorted by name; none where the set has no such side."""
        ...

    def load(self, picture: PartPicture) -> tuple[Image, Mapping[Part, Mask]]:
        """The picture, ``uint8 (H, W, 3)`` RGB, and a mask, ``bool (H, W)``, for each of its parts.

        A mask is the union of all parts of that category; none is empty. The arrays are the caller's own.
        Raises ImageError where the file is gone or damaged.
        """
        ...
