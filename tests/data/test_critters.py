from __future__ import annotations

import doctest
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slip.data import critters
from slip.data.critters import (
    COLOURS,
    PARTS,
    PATTERNS,
    PLANS,
    SPECIES,
    Scene,
    Species,
    Sprite,
    caption,
    draw_critter,
    make_portrait,
    make_scene,
    random_species,
)
from slip.data.critters.bodies import parts_of
from slip.data.critters.captions import TRAITS, part_caption
from slip.data.critters.scenes import _Builder
from slip.data.critters.species import all_species
from slip.errors import UsageError
from slip.options import Style

FULL = Species("", "bird", "red", "blue", "plain", "long", 2, True, (1, 1, 1, 1, 1))
"""Has every part that its plan allows."""
WORDS = {"striped": "strip", "spotted": "spot", "patched": ("patch", " and "), "belly": ("bell", "underside")}


def digest(scene: Scene) -> str:
    layers = (scene.image, scene.objects, scene.parts)
    return hashlib.sha256(
        b"".join(layer.tobytes() for layer in layers) + repr(scene.things).encode()
    ).hexdigest()


def test_the_same_in_every_process() -> None:
    code = f"from data.test_critters import *; print(digest(make_scene({(5, 3)}, 96)), hash('x'))"
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert told[0][1] != told[1][1]
    assert {told[0][0], told[1][0]} == {digest(make_scene((5, 3), 96))}


class TestSpecies:
    def test_there_are_151_of_their_own_name_and_looks(self) -> None:
        assert len(SPECIES) == 151
        assert len({species.name.casefold() for species in SPECIES}) == 151
        assert len({(species.plan, species.colour, species.pattern) for species in SPECIES}) == 151
        assert all_species() == SPECIES

    def test_names_are_names_for_folders_anywhere(self) -> None:
        assert all(name.isascii() and name.isalpha() and name == name.capitalize() for name in names())
        assert not {"Con", "Prn", "Aux", "Nul"} & names()

    def test_patterns_can_be_seen(self) -> None:
        for species in SPECIES:
            contrast = np.abs(np.subtract(COLOURS[species.colour], COLOURS[species.accent])).sum()
            assert contrast > 100, species

    def test_made_up_ones_differ(self) -> None:
        rng = np.random.default_rng(0)
        made_up = {random_species(rng) for _ in range(50)}
        assert len(made_up) == 50
        assert {species.name for species in made_up} == {"unnamed"}

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("plan", "dragon"),
            ("colour", "mauve"),
            ("accent", ""),
            ("pattern", "checked"),
            ("ears", "big"),
            ("horns", 3),
            ("build", (1, 1, 1, 1)),
            ("build", (1, 1, 1, 1, 9)),
            ("build", (1, 1, 1, 1, float("nan"))),
        ],
    )
    def test_what_cannot_be_drawn_is_refused(self, field: str, value: object) -> None:
        with pytest.raises(UsageError, match=field):
            replace(FULL, **{field: value})


def names() -> set[str]:
    return {species.name for species in SPECIES}


class TestSprites:
    @pytest.mark.parametrize(("plan", "pattern"), list(product(PLANS, PATTERNS)))
    def test_every_plan_in_every_pattern_shows_all_its_parts(self, plan: str, pattern: str) -> None:
        species = replace(FULL, plan=plan, pattern=pattern)
        sprite = draw_critter(species, 160, np.random.default_rng(1))
        seen = {PARTS[label - 1] for label in np.unique(sprite.parts) if label}
        assert seen == set(parts_of(plan))

    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_the_accent_shows_on_the_body_where_there_is_a_pattern(self, pattern: str) -> None:
        species = replace(FULL, plan="blob", pattern=pattern, colour="white", accent="black")
        sprite = draw_critter(species, 160, np.random.default_rng(4), "artwork")
        body = cv2.erode((sprite.parts == 1 + PARTS.index("body")).astype(np.uint8), np.ones((9, 9)))
        dark = sprite.rgba[..., :3].mean(2)[body > 0] < 100
        assert (0.05 < dark.mean() < 0.7) == (pattern != "plain")

    @pytest.mark.parametrize("plan", PLANS)
    def test_parts_are_exactly_what_is_opaque(self, plan: str) -> None:
        sprite = draw_critter(replace(FULL, plan=plan), 90, np.random.default_rng(2))
        opaque = sprite.rgba[..., 3] >= 128
        assert np.array_equal(sprite.parts > 0, opaque)
        seen = sprite.rgba[..., 3] > 0
        assert all(edge.any() for edge in (seen[0], seen[-1], seen[:, 0], seen[:, -1])), "cropped to its box"

    def test_poses_differ_and_seeds_decide(self) -> None:
        one, again, other = (draw_critter(FULL, 60, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert np.array_equal(one.rgba, again.rgba)
        assert one.rgba.shape != other.rgba.shape or not np.array_equal(one.rgba, other.rgba)

    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_hardly_a_pixel(self, size: int) -> None:
        sprite = draw_critter(FULL, size, np.random.default_rng(0))
        assert sprite.rgba.shape[:2] == sprite.parts.shape

    @pytest.mark.parametrize("wanted", [{"size": 0}, {"size": 20, "style": "oil"}])
    def test_bad_values(self, wanted: dict[str, Any]) -> None:
        with pytest.raises(UsageError):
            draw_critter(FULL, rng=np.random.default_rng(0), **wanted)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**63),
    size=st.integers(32, 150),
    critters=st.integers(0, 8),
    distractors=st.integers(0, 6),
    style=st.sampled_from(get_args(Style)),
)
def test_a_scene_is_true(seed: int, size: int, critters: int, distractors: int, style: Style) -> None:
    scene = make_scene(seed, size, critters, distractors, style)
    assert scene.image.shape == (size, size, 3)
    assert len(scene.critters) <= critters
    assert len(scene.things) <= critters + distractors
    assert set(np.unique(scene.objects)) - {0} == {thing.number for thing in scene.things}
    assert len({critter.name for critter in scene.critters}) == len(scene.critters)
    for thing in scene.things:
        mask, parts = scene.mask(thing), scene.part_masks(thing)
        assert mask.any()
        if thing.species is None:
            assert parts == {} and not scene.parts[mask].any()
            continue
        assert np.array_equal(np.sum(list(parts.values()), axis=0), mask), "disjoint, and together the object"
        assert set(parts) <= set(parts_of(thing.species.plan))
        assert thing.name == thing.species.name and thing.caption == caption(thing.species)


def test_artwork_is_on_white() -> None:
    assert (make_scene(0, 64, 0, 0, "artwork").image == 255).all()
    scene = make_scene(1, 128, style="artwork")
    around = cv2.dilate((scene.objects > 0).astype(np.uint8), np.ones((5, 5)))
    assert (scene.image[around == 0] == 255).all() and (around == 0).any()


def test_backgrounds_vary() -> None:
    grounds = [make_scene(seed, 48, 0, 0) for seed in range(20)]
    spread = [ground.image.std((0, 1)).mean() for ground in grounds]
    assert min(spread) < 10 and max(spread) > 20
    assert all((ground.objects == 0).all() and ground.things == () for ground in grounds)


def test_critters_hide_little_of_each_other() -> None:
    """The running totals of the builder against a count of all pixels."""
    rng = np.random.default_rng(0)
    builder = _Builder(np.zeros((3, 96, 96), np.float32), shadows=True)
    for _ in range(60):
        height, width = rng.integers(1, 40, 2)
        rgba = rng.integers(0, 256, (height, width, 4), np.uint8)
        before = np.bincount(builder.objects.ravel(), minlength=len(builder.things) + 1)[1:]
        builder.place(Sprite(rgba, np.zeros((height, width), np.uint8)), "", "", None, "", rng)
        after = np.bincount(builder.objects.ravel(), minlength=len(builder.things) + 1)[1:]
        assert np.array_equal(after, builder.areas)
        assert (after[: len(before)] >= 0.94 * before).all() and after.all()
    assert 5 < len(builder.things) < 60


class TestPortraits:
    def test_a_portrait_that_never_fits_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "slip.data.critters.scenes.draw_critter",
            lambda *_: Sprite(np.zeros((1, 1, 4), np.uint8), np.zeros((1, 1), np.uint8)),
        )
        with pytest.raises(UsageError, match=SPECIES[0].name):
            make_portrait(SPECIES[0], 0, 32, "artwork")

    def test_every_species_is_in_its_portrait(self) -> None:
        for number, species in enumerate(SPECIES[:80]):
            scene = make_portrait(species, (0, number), 40, "artwork")
            assert [critter.name for critter in scene.critters] == [species.name]
            assert scene.mask(scene.critters[0]).mean() > 0.06

    def test_it_is_a_scene_of_one(self) -> None:
        scene = make_portrait(SPECIES[3], 7, 64)
        assert digest(scene) == digest(make_scene(7, 64, 1, 0, species=[SPECIES[3]]))


class TestCaptions:
    def test_they_are_true_of_every_species(self) -> None:
        for species, wording, size in product(SPECIES, range(3), ("", "small", "large")):
            text = caption(species, wording, size)
            words = set(text.replace("-", " ").replace("bellied", "").split())
            article = "an" if text.split()[1][0] in "aeiou" else "a"
            assert text.startswith(f"{article} {size}".strip())
            assert {species.colour, species.plan} <= words | {"plain-coloured"}
            assert words & set(COLOURS) <= {species.colour, species.accent}
            assert words & set(PLANS) == {species.plan}
            marks = [mark for kind, mark in WORDS.items() if kind == species.pattern]
            assert all(
                any(one in text for one in ((mark,) if isinstance(mark, str) else mark)) for mark in marks
            )
            assert ("small" in words, "large" in words) == (size == "small", size == "large")

    def test_they_tell_species_apart(self) -> None:
        assert len({caption(species) for species in SPECIES}) == 151
        assert set(TRAITS) == set(PATTERNS)
        assert {len(phrasings) for phrasings in TRAITS.values()} == {3}
        assert caption(SPECIES[0], 3) == caption(SPECIES[0], 0)

    def test_examples(self) -> None:
        species = replace(FULL, colour="orange", pattern="spotted")
        assert caption(species) == "an orange spotted bird"
        assert caption(species, 1) == "an orange bird with blue spots"
        assert caption(species, 2, "small") == "a small orange bird with spots"
        assert part_caption("wing", species) == "the wing of an orange bird"

    def test_size_words_are_of_the_size(self) -> None:
        areas: dict[str, list[int]] = {"small": [], "": [], "large": []}
        for seed in range(40):
            scene = make_scene(seed, 64, 3, 0)
            for critter in scene.critters:
                areas[critter.size].append(np.count_nonzero(scene.mask(critter)))
        small, medium, large = (float(np.mean(areas[word])) for word in ("small", "", "large"))
        assert small < 0.8 * medium and medium < 0.9 * large


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"size": 31}, "size is 31; give 32 to 4096"),
        ({"size": 4097}, "size is 4097"),
        ({"critters": -1}, "critters is -1; give 0 to 100"),
        ({"critters": 101}, "critters is 101"),
        ({"distractors": 101}, "distractors is 101"),
        ({"size": 32, "critters": 30}, "32 objects do not fit 32 pixels"),
        ({"seed": -1}, "seed -1 is below 0"),
        ({"seed": (3, -2)}, "seed -2 is below 0"),
        ({"style": "oil"}, "style is 'oil'; give picture or artwork"),
        ({"species": SPECIES[:3]}, "4 critters of different species"),
    ],
)
def test_bad_values(wanted: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        make_scene(**{"seed": 0, **wanted})
    assert "\n" not in str(caught.value)


def test_the_largest_crowd() -> None:
    scene = make_scene(0, 128, 100, 40)
    assert len(scene.things) > 60
    assert scene.objects.max() == len(scene.things)


def test_the_example_of_the_package() -> None:
    result = doctest.testmod(critters)
    assert result.attempted > 0 and result.failed == 0
