from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slip.evaluation.labels import fold, uncovered, verdict


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mr. Mime", "MrMime"),
        ("Farfetch'd", "farfetchd"),
        ("Farfetch\u2019d", "Farfetchd"),
        ("a_b-c", "A B C"),
        ("Flabe\u0301be\u0301", "Flab\u00e9b\u00e9"),
        ("STRASSE", "stra\u00dfe"),
    ],
)
def test_names_of_one_class(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Nidoran♀", "Nidoran♂"), ("Nidorina", "Nidorino"), ("!", "?"), ("a1", "a2")]
)
def test_names_of_two_classes(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@given(st.text(min_size=1))
def test_folding_again_changes_nothing_more(label: str) -> None:
    assert fold(label)
    assert fold(fold(label)) == fold(label)


KNOWN = {"mrmime", "abra"}


@pytest.mark.parametrize(
    ("label", "judged", "right", "exactly"),
    [
        ("Abra", "Abra", True, True),
        ("Mr. Mime", "MrMime", True, False),
        ("Abra", "MrMime", False, False),
        ("Abra", None, False, False),
        ("Zubat", "MrMime", None, False),
        ("Zubat", None, None, False),
    ],
)
def test_verdicts(label: str, judged: str | None, right: bool | None, exactly: bool) -> None:
    assert verdict(label, judged, KNOWN) is right
    assert verdict(label, judged, KNOWN, exactly=True) is exactly


def test_uncovered_prompts_are_named_and_counted() -> None:
    asked = ["Abra", "Mr. Mime", "Zubat", "Zubat", "Mr. Mime"]
    assert uncovered(asked, ["abra", "MrMime"]) == {"Zubat": 2}
    assert uncovered(asked, ["Abra", "MrMime"], exactly=True) == {"Mr. Mime": 2, "Zubat": 2}
