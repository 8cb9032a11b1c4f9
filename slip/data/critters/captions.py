"""What a critter, a part or a thing is called by its looks."""

from __future__ import annotations

from slip.data.critters.species import Species

TRAITS = {
    "plain": ("plain {colour} {plan}", "plain-coloured {colour} {plan}", "all {colour} {plan}"),
    "striped": (
        "{colour} striped {plan}",
        "{colour} {plan} with {accent} stripes",
        "{colour} {plan} with stripes",
    ),
    "spotted": (
        "{colour} spotted {plan}",
        "{colour} {plan} with {accent} spots",
        "{colour} {plan} with spots",
    ),
    "patched": (
        "{colour} patched {plan}",
        "{colour} {plan} with {accent} patches",
        "{colour} and {accent} {plan}",
    ),
    "belly": (
        "{colour} {plan} with {accent_a} belly",
        "{accent}-bellied {colour} {plan}",
        "{colour} {plan} with {accent_a} underside",
    ),
}
"""The phrasings of each pattern. What they say of a species is all true of it."""


def with_article(phrase: str) -> str:
    """The phrase with "a" or "an" before it."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def caption(species: Species, wording: int = 0, size: str = "") -> str:
    """A critter by its attributes, as "a small red bird with spots".

    wording: which of the phrasings, counted round. size: "small", "large" or nothing.
    """
    return describe_looks(species.plan, species.colour, species.accent, species.pattern, wording, size)


def describe_looks(
    plan: str, colour: str, accent: str, pattern: str, wording: int = 0, size: str = ""
) -> str:
    """The same of attributes alone."""
    phrasings = TRAITS[pattern]
    phrase = phrasings[wording % len(phrasings)].format(
        colour=colour, accent=accent, plan=plan, accent_a=with_article(accent)
    )
    return with_article(f"{size} {phrase}".strip())


def part_caption(part: str, species: Species) -> str:
    """A part of a critter, as "the wing of a blue bird"."""
    return f"the {part} of {with_article(species.colour)} {species.plan}"


def thing_caption(kind: str, colour: str) -> str:
    """A thing, as "a grey rock"."""
    return with_article(f"{colour} {kind}")
