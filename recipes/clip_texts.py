"""What a crop shows, in words that say all of it or only some.

A text is a set of claims; it is true of a crop when each claim is. So "a striped bird" and
"a blue bird" are both true of a blue striped bird, and the loss treats them so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from slip.data.critters import COLOURS, PARTS, PATTERNS, PLANS, Species
from slip.data.critters.captions import describe_looks, with_article
from slip.data.critters.things import THINGS

KINDS = ("critter", "ground", "fragment", *PARTS, *THINGS)


@dataclass(frozen=True)
class Facts:
    """What is true of a crop, or what a text claims; None where nothing is said."""

    kind: str
    plan: str | None = None
    colour: str | None = None
    pattern: str | None = None
    accent: str | None = None

    @staticmethod
    def of(species: Species | None, kind: str = "critter") -> Facts:
        """A critter, or one of its parts."""
        if species is None:
            return Facts(kind)
        return Facts(kind, species.plan, species.colour, species.pattern, species.accent)

    def codes(self) -> list[int]:
        """As numbers: the kind, then an index or -1 for each of the others."""
        colours = tuple(COLOURS)
        fields = (
            (PLANS, self.plan),
            (colours, self.colour),
            (PATTERNS, self.pattern),
            (colours, self.accent),
        )
        said = (-1 if value is None else names.index(value) for names, value in fields)
        return [KINDS.index(self.kind), *said]


def describe(facts: Facts, rng: np.random.Generator) -> tuple[str, list[int]]:
    """A text that is true of the facts, and the codes of what it claims."""
    if facts.kind == "ground":
        return str(rng.choice(["the background", "the ground", "empty background"])), facts.codes()
    if facts.kind == "fragment":
        return "a fragment", facts.codes()
    if facts.plan is None:
        return _describe_thing(facts, rng)
    text, claim = _describe_part(facts, rng) if facts.kind in PARTS else _describe_critter(facts, rng)
    return text, claim.codes()


def _describe_thing(facts: Facts, rng: np.random.Generator) -> tuple[str, list[int]]:
    if rng.random() < 0.25:
        return with_article(facts.kind), replace(facts, colour=None).codes()
    return with_article(f"{facts.colour} {facts.kind}"), facts.codes()


def _describe_part(facts: Facts, rng: np.random.Generator) -> tuple[str, Facts]:
    claim = replace(facts, pattern=None, accent=None)
    if rng.random() < 0.4:
        return f"the {facts.kind} of a {facts.plan}", replace(claim, colour=None)
    return f"the {facts.kind} of {with_article(str(facts.colour))} {facts.plan}", claim


def _describe_critter(facts: Facts, rng: np.random.Generator) -> tuple[str, Facts]:
    luck = rng.random()
    adjective = {"belly": "bellied"}.get(str(facts.pattern), str(facts.pattern))
    if luck < 0.1:
        return with_article(f"{facts.colour} {facts.plan}"), replace(facts, pattern=None, accent=None)
    if luck < 0.15:
        return with_article(str(facts.plan)), Facts("critter", facts.plan)
    if luck < 0.2:
        return with_article(f"{facts.colour} critter"), Facts("critter", colour=facts.colour)
    if luck < 0.25:
        return with_article(f"{adjective} {facts.plan}"), Facts("critter", facts.plan, pattern=facts.pattern)
    if luck < 0.3:
        return with_article(f"{adjective} {facts.colour} critter"), replace(facts, plan=None, accent=None)
    size = str(rng.choice(["", "", "", "small", "large"]))
    looks = str(facts.plan), str(facts.colour), str(facts.accent), str(facts.pattern)
    text = describe_looks(*looks, wording=int(rng.integers(3)), size=size)
    return text, facts if str(facts.accent) in text.split() else replace(facts, accent=None)
