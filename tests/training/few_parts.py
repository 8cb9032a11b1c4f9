"""A set of parts so small that a step takes no time: eight drawn fish, two of them to learn from."""

from __future__ import annotations

from slip.data.critters import SPECIES
from slip.data.parts import CritterParts

FISH = tuple(kin for kin in SPECIES if kin.plan == "fish")[:8]


def few_parts(size: int = 64) -> CritterParts:
    """Portraits of 2 species to learn from, 2 to validate with and 4 to test with."""
    return CritterParts(count=1, size=size, species=FISH)
