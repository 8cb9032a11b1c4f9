from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slip.wording import plain

NO_NAMES = {"of", "a", "an", "the"}
words = st.from_regex("[a-zéü]+(-[a-zéü]+)?", fullmatch=True).filter(lambda word: word not in NO_NAMES)
phrases = st.lists(words, min_size=1, max_size=3).map(" ".join)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("the bird's wing", "bird wing"),
        ("Wing of a Bird", "bird wing"),
        ("  bird\twing\n", "bird wing"),
        ("a bird’s wing", "bird wing"),
        ("the birds' wings", "birds wings"),
        ("the boss's hat", "boss hat"),
        ("the tip of the wing of the bird", "bird wing tip"),
        ("head of the golden retriever", "golden retriever head"),
        ("the car's A-pillar", "car a-pillar"),
        ("an a-frame", "a-frame"),
        ("theatre of athens", "athens theatre"),
        ("a/c vent", "a/c vent"),
        ("it's", "it's"),
        ("the", "the"),
        ("of", "of"),
        ("", ""),
        ("ÉTOILE", "étoile"),
    ],
)
def test_what_is_said_and_meant(said: str, meant: str) -> None:
    assert plain(said) == meant


@given(phrases)
def test_what_is_plain_stays_as_it_is(phrase: str) -> None:
    assert plain(phrase) == phrase
    assert plain(plain(f"The {phrase.upper()}")) == plain(f"The {phrase.upper()}")


@given(phrases, phrases)
def test_every_way_to_say_it_is_one(owner: str, part: str) -> None:
    ways = [
        f"{owner}'s {part}",
        f"the {owner}'s {part}",
        f"{part} of {owner}",
        f"{part} of the {owner}",
        f"the {part} of a {owner}",
        f"{owner}  {part}",
    ]
    assert {plain(way) for way in ways} == {f"{owner} {part}"}


@given(st.text())
def test_something_is_always_left(text: str) -> None:
    assert bool(plain(text)) == bool(text.split())
