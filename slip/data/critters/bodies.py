"""Body plans: from a species and a pose to named parts, back to front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from slip.data.critters.shapes import Point, Polygon, bezier, blob, ellipse, leaf, limb, ribbon
from slip.data.critters.species import Species

PARTS = (
    "body", "head", "eye", "ear", "horn", "wing", "leg", "arm", "tail", "fin", "beak", "antenna", "tentacle",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One shape of a critter.

    name: one of PARTS.
    paint: ``colour`` (patterned), ``plain`` (the colour without its pattern), ``far`` (in shade),
        ``accent``, ``pale``, ``eye`` or ``pupil``.
    """

    name: str
    outline: Polygon
    paint: str = "plain"


Plan = Callable[[Species, np.random.Generator], list[Part]]


def parts_of(plan: str) -> tuple[str, ...]:
    """The names in PARTS that critters of a body plan can have."""
    full = Species("", plan, "red", "blue", "plain", "long", 2, True, (1, 1, 1, 1, 1))
    names = {part.name for part in body_parts(full, np.random.default_rng(0))}
    return tuple(name for name in PARTS if name in names)


def body_parts(species: Species, rng: np.random.Generator) -> list[Part]:
    """The parts of one critter in a pose of its own, back to front, facing right."""
    return PLANS[species.plan](species, rng)


def _quadruped(species: Species, rng: np.random.Generator) -> list[Part]:
    head, length, legs, tail, round_ = species.build
    half, thick = 0.5 * length, 0.25 * round_
    hip, floor = 0.05 + thick * 0.5, 0.42 + 0.38 * legs
    stride = rng.uniform(-0.16, 0.16, 4)
    feet = [(-half * 0.78, stride[0]), (half * 0.62, stride[1])]
    far = [
        Part("leg", limb((x + 0.1, hip), (x + 0.12, 0.4), (x + 0.12 + s, floor - 0.05), (0.1, 0.075)), "far")
        for x, s in feet
    ]
    near = [Part("leg", limb((x, hip), (x - 0.03, 0.45), (x - s, floor), (0.12, 0.085))) for x, s in feet]
    lift = rng.uniform(-0.35, 0.2)
    end = -half - 0.32 * tail
    back = limb((-half * 0.85, -0.02), (-half - 0.25 * tail, -0.05), (end, lift * tail - 0.2), (0.07, 0.04))
    tuft = ellipse(end, lift * tail - 0.22, 0.1, 0.09)
    at = (half + 0.12, -0.32 + rng.uniform(-0.1, 0.12))
    neck = limb((half * 0.6, 0.0), (half * 0.9, -0.1), at, (0.17 * round_, 0.14))
    wing = [Part("wing", leaf((0.0, -0.1), (-0.35, -0.85), 0.17, 0.15), "accent")] if species.wings else []
    return [
        *far,
        Part("tail", back),
        Part("tail", tuft, "accent"),
        Part("body", ellipse(0, 0, half + 0.08, thick), "colour"),
        *near,
        *wing,
        Part("body", neck, "plain"),
        *_head(species, rng, at, 0.25 * head, profile=True),
    ]


def _biped(species: Species, rng: np.random.Generator) -> list[Part]:
    head, length, legs, tail, round_ = species.build
    wide, tall = 0.28 * round_, 0.34 * length
    top, floor = -0.42, 0.55 + 0.32 * legs
    swing = rng.uniform(-0.12, 0.12, 2)
    tip = (-0.5 * tail - 0.1, rng.uniform(-0.2, 0.3))
    parts = [Part("tail", limb((-0.1, 0.25), (-0.45, 0.45), tip, (0.09, 0.03)), "far")]
    if species.wings:
        parts += [
            Part("wing", leaf((side * 0.1, -0.1), (side * 0.75, -0.55), 0.17, -side * 0.2), "accent")
            for side in (-1, 1)
        ]
    for side, s in zip((-1, 1), swing, strict=True):
        x = side * wide * 0.55
        parts.append(Part("leg", limb((x, 0.25), (x, 0.5), (x + s, floor - 0.04), (0.12, 0.09))))
        parts.append(Part("leg", ellipse(x + s + 0.04, floor, 0.13, 0.06), "accent"))
    reach = rng.uniform(-0.55, 0.35, 2)
    parts.append(Part("body", ellipse(0, 0.05, wide, tall), "colour"))
    for side, y in zip((-1, 1), reach, strict=True):
        shoulder, elbow = (side * wide * 0.8, -0.1), (side * (wide + 0.16), 0.05)
        hand = (side * (wide + 0.26), y + 0.1)
        parts.append(Part("arm", limb(shoulder, elbow, hand, (0.085, 0.07))))
    return parts + _head(species, rng, (0.0, top - 0.08), 0.31 * head, profile=False)


def _bird(species: Species, rng: np.random.Generator) -> list[Part]:
    head, length, legs, tail, round_ = species.build
    half, thick = 0.42 * length, 0.3 * round_
    at = (half * 0.75, -0.42)
    raised = rng.random() < 0.4
    tip = (-0.35, -0.85) if raised else (-half - 0.2, 0.12)
    wing = leaf((half * 0.25, -0.08), tip, 0.2 if raised else 0.17, 0.12 if raised else -0.18)
    ends = [(-half - 0.42 * tail, dy + rng.uniform(-0.05, 0.05)) for dy in (-0.12, 0.02, 0.16)]
    feathers = [Part("tail", leaf((-half * 0.6, 0.05), end, 0.07), "accent") for end in ends]
    floor = 0.5 + 0.3 * legs
    claws = [
        Part("leg", limb((x, thick * 0.8), (x - 0.03, 0.45), (x + 0.04, floor), (0.045, 0.035)), "beak")
        for x in (-0.08, 0.12)
    ]
    x, y = at
    beak = np.array([(x + 0.15 * head, y - 0.07), (x + 0.44 * head, y + 0.05), (x + 0.14 * head, y + 0.1)])
    crest = [Part("horn", leaf((x - 0.05, y - 0.15), (x - 0.2, y - 0.42), 0.06, 0.2), "accent")]
    eye = _eye((x + 0.07, y - 0.04), 0.065 * head, rng)
    return [
        *feathers,
        *claws,
        *(crest if species.horns else []),
        Part("body", ellipse(0, 0, half + 0.06, thick, -18), "colour"),
        Part("beak", beak.astype(np.float32), "beak"),
        Part("head", ellipse(*at, 0.23 * head, 0.22 * head)),
        *eye,
        Part("wing", wing, "accent"),
    ]


def _fish(species: Species, rng: np.random.Generator) -> list[Part]:
    head, length, _, tail, round_ = species.build
    half, thick = 0.55 * length, 0.32 * round_
    flick = rng.uniform(-0.14, 0.14)
    end = -half - 0.32 * tail
    fins = [
        Part("tail", leaf((-half * 0.85, 0), (end, flick - 0.3), 0.11, 0.15), "accent"),
        Part("tail", leaf((-half * 0.85, 0), (end, flick + 0.3), 0.11, -0.15), "accent"),
        Part("fin", leaf((half * 0.3, -thick * 0.7), (-half * 0.55, -thick - 0.22), 0.13, 0.15), "accent"),
        Part("fin", leaf((0.05, thick * 0.7), (-0.22, thick + 0.22), 0.08), "accent"),
    ]
    cheek = ellipse(half * 0.62, 0, 0.36 * half + 0.04, thick * 0.72)
    return [
        *fins,
        Part("body", ellipse(0, 0, half, thick), "colour"),
        Part("head", cheek),
        Part("fin", leaf((half * 0.22, 0.08), (-half * 0.25, 0.2 + flick), 0.08, -0.2), "accent"),
        *_eye((half * 0.72, -thick * 0.2), 0.085 * head, rng),
    ]


def _serpent(species: Species, rng: np.random.Generator) -> list[Part]:
    head, length, _, tail, round_ = species.build
    s = np.linspace(0, 1, 40)
    phase, waves = rng.uniform(-0.5, 0.5), rng.uniform(1.0, 1.6)
    sway = 0.3 * length * np.sin(2 * np.pi * waves * s + phase) * (0.4 + 0.6 * s) + 0.1
    line = np.stack([-0.85 + 1.5 * s, sway], 1)
    line[:, 1] -= 0.25 * s**3
    width = 0.14 * round_ * np.minimum(1, 0.12 + 1.8 * s) * np.ones_like(s)
    cut = int(9 * tail)
    at = (float(line[-1, 0]) + 0.06, float(line[-1, 1]))
    return [
        Part("tail", ribbon(line[: cut + 2], width[: cut + 2]), "accent"),
        Part("body", ribbon(line[cut:], width[cut:]), "colour"),
        *_head(species, rng, at, 0.2 * head, profile=True),
    ]


def _blob(species: Species, rng: np.random.Generator) -> list[Part]:
    head, length, legs, _, round_ = species.build
    wobble = rng.normal(0, [[0.05], [0.03], [0.02]], (3, 2))
    wide, tall = 0.55 * round_, 0.5 * length
    feet = [
        Part("leg", ellipse(x, tall * 0.92, 0.17 * legs, 0.1), "accent") for x in (-wide * 0.5, wide * 0.5)
    ]
    arms = [
        Part("arm", leaf((side * wide * 0.8, 0.05), (side * (wide + 0.26), rng.uniform(-0.2, 0.25)), 0.09))
        for side in (-1, 1)
    ]
    gap = 0.17 * head
    return [
        *feet,
        *_horns(species, (0.0, -tall * 0.8), 0.3),
        *_ears(species, (0.0, -tall * 0.55), wide * 0.62, rng),
        *arms,
        Part("body", blob(0, 0, wide, tall, wobble), "colour"),
        *_eye((-gap, -0.12), 0.11 * head, rng),
        *_eye((gap, -0.12), 0.11 * head, rng),
    ]


def _bug(species: Species, rng: np.random.Generator) -> list[Part]:
    head, length, legs, _, round_ = species.build
    half, thick = 0.46 * length, 0.3 * round_
    reach = thick + 0.3 * legs
    stance = [(x, x + rng.uniform(-0.12, 0.12) + 0.04) for x in (-half * 0.6, 0.0, half * 0.6)]
    feet = [
        Part("leg", limb((x, 0.08), (x + 0.1, reach * 0.4), (foot, reach), (0.05, 0.03)), "pupil")
        for x, foot in stance
    ]
    x, y = at = (half + 0.08, -0.04)
    feelers = [
        Part("antenna", limb(at, (x + 0.1, y - 0.35), (x + dx, y - 0.45), (0.03, 0.022)), "pupil")
        for dx in (0.12, 0.34)
    ]
    wing = Part("wing", leaf((half * 0.4, -0.1), (-half - 0.12, -0.36), 0.16, 0.18), "accent")
    wings = [wing] if species.wings else []
    return [
        *feet,
        *feelers,
        *_horns(species, (x + 0.1, y - 0.05), 0.22),
        Part("head", ellipse(x, y, 0.2 * head, 0.19 * head), "accent"),
        Part("body", ellipse(-0.08, -0.05, half, thick), "colour"),
        *wings,
        *_eye((x + 0.09, y - 0.04), 0.07 * head, rng),
    ]


def _squid(species: Species, rng: np.random.Generator) -> list[Part]:
    head, length, legs, tail, round_ = species.build
    wide, tall = 0.36 * round_, 0.46 * length
    arms = []
    for x in np.linspace(-wide * 0.8, wide * 0.8, 5):
        sway = rng.uniform(-0.25, 0.25)
        line = bezier((x, 0.1), (x * 1.5 + sway, 0.5), (x * 1.9 - sway, 0.45 + 0.42 * legs))
        paint = "far" if x in (-wide * 0.4, wide * 0.4) else "plain"
        arms.append(Part("tentacle", ribbon(line, (0.1, 0.04)), paint))
    reach = wide + 0.22 * tail
    fins = [
        Part("fin", leaf((side * wide * 0.5, -0.45), (side * reach, -0.62), 0.1, side * 0.2), "accent")
        for side in (-1, 1)
    ]
    return [
        *arms,
        *fins,
        Part("body", ellipse(0, -0.25, wide, tall), "colour"),
        *_eye((-wide * 0.45, -0.02), 0.1 * head, rng),
        *_eye((wide * 0.45, -0.02), 0.1 * head, rng),
    ]


def _head(species: Species, rng: np.random.Generator, at: Point, size: float, profile: bool) -> list[Part]:
    x, y = at
    crown = (x - 0.2 * size, y - 0.6 * size)
    front = [Part("head", ellipse(x + 0.75 * size, y + 0.25 * size, 0.55 * size, 0.4 * size), "pale")]
    face = _eye((x + 0.3 * size, y - 0.2 * size), 0.24 * size, rng)
    if not profile:
        front = [Part("head", ellipse(x, y + 0.42 * size, 0.45 * size, 0.32 * size), "pale")]
        left, right = ((x + side * 0.42 * size, y - 0.1 * size) for side in (-1, 1))
        face = [*_eye(left, 0.2 * size, rng), *_eye(right, 0.2 * size, rng)]
    skull = Part("head", ellipse(x, y, size, 0.9 * size))
    muzzle = [*front, skull] if profile else [skull, *front]
    return [*_horns(species, crown, 1.3 * size), *_ears(species, crown, 0.55 * size, rng), *muzzle, *face]


def _ears(species: Species, crown: Point, gap: float, rng: np.random.Generator) -> list[Part]:
    x, y = crown
    tilt = rng.uniform(-0.1, 0.1)

    def ear(side: int) -> Polygon:
        if species.ears == "pointed":
            return leaf((x + side * gap, y + 0.12), (x + side * gap * 1.5 + tilt, y - 0.22), 0.1)
        if species.ears == "round":
            return ellipse(x + side * gap * 1.25, y - 0.02, 0.12, 0.12)
        tip = (x + side * gap * 1.3 + tilt, y - 0.46)
        return leaf((x + side * gap * 0.7, y + 0.1), tip, 0.09, 0.1 * side)

    return [] if species.ears == "none" else [Part("ear", ear(side)) for side in (-1, 1)]


def _horns(species: Species, crown: Point, length: float) -> list[Part]:
    x, y = crown
    spread = {0: (), 1: (0.0,), 2: (-0.09, 0.11)}[species.horns]
    return [
        Part("horn", leaf((x + dx, y + 0.1), (x + 2.2 * dx + 0.05, y - length), 0.06, 0.1), "pale")
        for dx in spread
    ]


def _eye(at: Point, size: float, rng: np.random.Generator) -> list[Part]:
    x, y = at
    look = rng.uniform(-0.25, 0.4) * size
    pupil = ellipse(x + look, y + 0.1 * size, 0.55 * size, 0.62 * size)
    return [Part("eye", ellipse(x, y, size, 1.1 * size), "eye"), Part("eye", pupil, "pupil")]


PLANS: dict[str, Plan] = {
    "quadruped": _quadruped,
    "biped": _biped,
    "bird": _bird,
    "fish": _fish,
    "serpent": _serpent,
    "blob": _blob,
    "bug": _bug,
    "squid": _squid,
}
