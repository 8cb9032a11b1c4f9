"""What the categories of a file of annotations are called, in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from slip.data.parts.records import Part
from slip.wording import plain

_MISSPELT = re.compile(r"\btier\b")
"""PartImageNet writes "Car Tier"."""
MARKS = {"part", "parts"}
"""Supercategories that tell parts from whole things, as in PACO (arXiv 2301.01795)."""
_NO_OWNERS = MARKS | {"object", "objects", "none"}
_BACKGROUND = "background"


def part_named(name: str, supercategory: str = "") -> Part | None:
    """The part that a category stands for; None for the background.

    >>> part_named("Quadruped Head", "Quadruped"), part_named("Head", "Quadruped")
    (Part(category='quadruped head', name='head', owner='quadruped'), \
Part(category='quadruped head', name='head', owner='quadruped'))
    >>> part_named("bird's wing", "bird")
    Part(category='bird wing', name='wing', owner='bird')
    >>> part_named("front_left_door"), part_named("_background_")
    (Part(category='front left door', name='front left door', owner=''), None)
    """
    text, owner = words(name), words(supercategory)
    if text == _BACKGROUND:
        return None
    if not owner or owner == text or owner in _NO_OWNERS:
        return Part(text, text)
    told = plain(text).removeprefix(f"{owner} ")
    return Part(f"{owner} {told}", told, owner)


def words(text: str) -> str:
    """Lower case, blanks for underscores and colons, one between words; "tier" is mended to "tire".

    >>> words("Car_Tier")
    'car tire'
    """
    return _MISSPELT.sub("tire", " ".join(re.sub("[_:]", " ", text).lower().split()))


def one_each(parts: Iterable[Part]) -> dict[str, Part]:
    """One part for each category: of several with the same text one that has an owner."""
    told: dict[str, Part] = {}
    for part in sorted(set(parts), key=lambda part: (not part.owner, part)):
        told.setdefault(part.category, part)
    return told
