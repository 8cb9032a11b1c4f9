"""From pictures with parts to triples of a picture, an expression and a mask."""

from __future__ import annotations

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


def triples(pictures: Iterable[PartPicture]) -> tuple[Triple, ...]:
    """One for each picture and part of it, with the expression that is always the same."""
    return tuple(
        Triple(picture, part, wordings(part, picture.subject)[0])
        for picture in pictures
        for part in picture.parts
    )
