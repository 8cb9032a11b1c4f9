from __future__ import annotations

import pytest

from slip.data.parts.naming import one_each, part_named, words
from slip.data.parts.records import Part


@pytest.mark.parametrize(
    ("name", "above", "part"),
    [
        ("Quadruped Head", "Quadruped", Part("quadruped head", "head", "quadruped")),
        ("Head", "Quadruped", Part("quadruped head", "head", "quadruped")),
        ("front_left_door", "", Part("front left door", "front left door")),
        ("front_left_door", "car", Part("car front left door", "front left door", "car")),
        ("Car Tier", "Car", Part("car tire", "tire", "car")),
        ("Tier", "Car", Part("car tire", "tire", "car")),
        ("Frontier Post", "", Part("frontier post", "frontier post")),
        ("Bicycle  Seat", "Bicycle", Part("bicycle seat", "seat", "bicycle")),
        ("bottle:cap", "PART", Part("bottle cap", "bottle cap")),
        ("wheel", "wheel", Part("wheel", "wheel")),
        ("wheel", "parts", Part("wheel", "wheel")),
        ("wheel", "None", Part("wheel", "wheel")),
        ("wheel", "object", Part("wheel", "wheel")),
        ("wheel", " _ ", Part("wheel", "wheel")),
        ("Birdcage", "Bird", Part("bird birdcage", "birdcage", "bird")),
        ("_background_", "", None),
        (" Background", "Car", None),
        ("background_light", "", Part("background light", "background light")),
    ],
)
def test_categories(name: str, above: str, part: Part | None) -> None:
    assert part_named(name, above) == part


def test_words() -> None:
    assert words(" A_b\tC:d\n") == "a b c d"


def test_of_parts_with_one_text_the_one_with_an_owner_stays() -> None:
    bare, owned = Part("car door", "car door"), Part("car door", "door", "car")
    other = Part("hood", "hood")
    assert one_each([bare, owned, other, bare]) == {"car door": owned, "hood": other}
    assert one_each([owned, bare]) == {"car door": owned}
