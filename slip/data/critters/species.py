"""151 species, each with its own body plan, colours, pattern and build, and a made-up name."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from slip.errors import UsageError

PLANS = ("quadruped", "biped", "bird", "fish", "serpent", "blob", "bug", "squid")
PATTERNS = ("plain", "striped", "spotted", "patched", "belly")
EARS = ("none", "pointed", "round", "long")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (208, 44, 44),
    "orange": (240, 134, 36),
    "yellow": (246, 212, 60),
    "green": (70, 160, 66),
    "teal": (34, 160, 160),
    "blue": (54, 96, 214),
    "purple": (128, 66, 178),
    "pink": (246, 140, 182),
    "brown": (130, 84, 48),
    "grey": (136, 140, 148),
    "black": (46, 46, 54),
    "white": (240, 240, 236),
}
COUNT = 151


@dataclass(frozen=True)
class Species:
    """What all critters of one name share.

    colour, accent: names in COLOURS; the accent paints pattern, wings and fins.
    pattern: one of PATTERNS.
    ears: one of EARS. horns: 0, 1 or 2.
    wings: whether a plan without wings carries a pair.
    build: five proportions around 1: head, length, legs, tail, roundness; each from 0.5 to 2.

    Raises UsageError for a value that cannot be drawn.
    """

    name: str
    plan: str
    colour: str
    accent: str
    pattern: str
    ears: str
    horns: int
    wings: bool
    build: tuple[float, float, float, float, float]

    def __post_init__(self) -> None:
        allowed: dict[str, tuple[object, ...]] = {
            "plan": PLANS,
            "colour": tuple(COLOURS),
            "accent": tuple(COLOURS),
            "pattern": PATTERNS,
            "ears": EARS,
            "horns": (0, 1, 2),
        }
        for field, values in allowed.items():
            value = getattr(self, field)
            if value not in values:
                known = ", ".join(map(str, values))
                raise UsageError(f"no species has the {field} {value!r}; choose one of {known}")
        if len(self.build) != 5 or not all(0.5 <= value <= 2 for value in self.build):
            raise UsageError(f"build is {self.build}; give five proportions from 0.5 to 2")


def all_species() -> tuple[Species, ...]:
    """The 151 species, always the same; no two share plan, colour and pattern."""
    rng = np.random.default_rng(151)
    looks = list(product(PLANS, COLOURS, PATTERNS))
    chosen = rng.permutation(len(looks))[:COUNT]
    names = _names(rng)
    return tuple(
        _species(name, plan, colour, pattern, rng)
        for name, (plan, colour, pattern) in zip(names, (looks[index] for index in chosen), strict=True)
    )


def random_species(rng: np.random.Generator) -> Species:
    """A species without a place in the catalogue, for variety in training."""
    plan, colour = str(rng.choice(PLANS)), str(rng.choice(list(COLOURS)))
    return _species("unnamed", plan, colour, str(rng.choice(PATTERNS)), rng)


def _species(name: str, plan: str, colour: str, pattern: str, rng: np.random.Generator) -> Species:
    head, length, legs, tail, roundness = (float(value) for value in rng.uniform(0.8, 1.25, 5))
    return Species(
        name=name,
        plan=plan,
        colour=colour,
        accent=str(rng.choice([other for other in COLOURS if _differ(colour, other)])),
        pattern=pattern,
        ears=str(rng.choice(EARS, p=[0.25, 0.3, 0.25, 0.2])),
        horns=int(rng.choice([0, 1, 2], p=[0.6, 0.2, 0.2])),
        wings=bool(rng.random() < 0.2),
        build=(head, length, legs, tail, roundness),
    )


def _differ(one: str, other: str) -> bool:
    """Whether a pattern in one colour can be seen on the other."""
    return float(np.abs(np.subtract(COLOURS[one], COLOURS[other])).sum()) > 170


def _names(rng: np.random.Generator) -> list[str]:
    onsets = sorted([*"bdfgklmnprstvz", "br", "dr", "fl", "gl", "pl", "sk", "tr"])
    vowels = ["a", "e", "i", "o", "u", "oo", "ai"]
    endings = ["x", "n", "l", "ra", "mo", "zo", "ki", "bi", "th", "rn", "dle", "sk"]
    names: dict[str, None] = {}
    while len(names) < COUNT:
        syllables = [rng.choice(onsets) + rng.choice(vowels) for _ in range(int(rng.integers(1, 3)))]
        tail = rng.choice(["b", "l", "m", "r"]) + rng.choice(["a", "o", "i"]) + rng.choice(endings)
        names["".join([*syllables, tail]).capitalize()] = None
    return list(names)
