"""Labelled pictures: what every set of them offers to training and evaluation."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from slip.errors import UsageError
from slip.types import Image, Mask

Side = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Picture:
    """One picture of a set; its pixels are asked of the set.

    name: unique in the set: the path relative to the set's folder, with slashes.
    label: its class. caption: what CLIP is told of it.
    group: pictures of one group are copies of each other, or nearly; a split never parts them.
    side: what the set itself uses it for; None where a split decides.
    """

    name: str
    label: str
    caption: str
    group: int
    side: Side | None = None


class PictureSet(Protocol):
    """Pictures with their classes, decoded or drawn when they are asked for."""

    @property
    def name(self) -> str:
        """What reports call the set."""
        ...

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Sorted by name."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, sorted."""
        ...

    @property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """What was left out, sorted: name and reason."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 over the names, labels, captions, groups and contents, in hex."""
        ...

    def load(self, picture: Picture) -> tuple[Image, Mask | None]:
        """The picture, ``uint8 (H, W, 3)`` RGB, and its subject, ``bool (H, W)``, where that is known.

        The arrays are the caller's own. Raises ImageError where the file is gone or damaged.
        """
        ...


def fill_caption(template: str, label: str) -> str:
    """What CLIP is told of a class. Raises UsageError unless ``template`` holds ``{}`` exactly once."""
    before, _, after = template.partition("{}")
    if template.count("{}") != 1 or set("{}") & set(before + after):
        raise UsageError(
            f"the caption {template!r} does not say where the class goes; "
            'put {} into it once, and no other braces, as in "a picture of {}"'
        )
    return before + label + after


def check_classes(labels: Iterable[str], name: str) -> tuple[str, ...]:
    """The different labels, sorted. Raises UsageError for fewer than two, and for two that look alike."""
    classes = tuple(sorted(set(labels)))
    if not classes:
        raise UsageError(f"{name} holds no picture that can be read; give one with two classes or more")
    if len(classes) == 1:
        raise UsageError(f"{name} has one class, {classes[0]!r}; a data set needs two classes or more")
    alike: dict[str, str] = {}
    for label in classes:
        other = alike.setdefault(unicodedata.normalize("NFC", label).casefold(), label)
        if other != label:
            raise UsageError(f"{name} has the classes {other!r} and {label!r}; give both one spelling")
    return classes
