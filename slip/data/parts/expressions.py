"""From pictures with parts to triples of a picture, an expression and a mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from slip.data.parts.records import Part, PartPicture
from slip.wording import plain


@dataclass(frozen=True)
class Triple:
    """One question on a picture; its answer is the mask of ``part``, which the set holds."""

    picture: PartPicture
    part: Part
    expression: str


def wordings(part: Part, subject: str = "") -> tuple[str, ...]:
    """What a part may be called in a picture of ``subject``, in plain form; the first is the one asked.

    >>> wordings(Part("bird wing", "wing", "bird"), "blue bird")
    ('bird wing', 'blue bird wing', 'wing')
    """
    said = [part.category, f"{subject} {part.name}" if subject else part.category, part.name]
    return tuple(dict.fromkeys(map(plain, said)))


def told_apart(picture: PartPicture) -> tuple[tuple[str, ...], ...]:
    """The wordings of each part of a picture, without those that mean another of its parts as well.

    The first, which is the category, always stays.
    """
    every = [wordings(part, picture.subject) for part in picture.parts]
    count = Counter(way for ways in every for way in ways)
    return tuple((ways[0], *(way for way in ways[1:] if count[way] == 1)) for ways in every)


def triples(pictures: Iterable[PartPicture]) -> tuple[Triple, ...]:
    """One for each picture and part of it, with the expression that is always the same."""
    return tuple(
        Triple(picture, part, wordings(part, picture.subject)[0])
        for picture in pictures
        for part in picture.parts
    )
