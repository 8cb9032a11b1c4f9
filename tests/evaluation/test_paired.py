from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slip.errors import UsageError
from slip.evaluation.paired import Paired, compare, mcnemar


def naive(first_only: int, second_only: int) -> float:
    """All throws of the coins, counted one by one."""
    tosses = first_only + second_only
    away = abs(first_only - second_only)
    throws = [sum(throw) for throw in product((0, 1), repeat=tosses)]
    return sum(abs(2 * heads - tosses) >= away for heads in throws) / len(throws)


@given(st.integers(0, 7), st.integers(0, 7))
def test_agrees_with_counting_throws(first_only: int, second_only: int) -> None:
    assert mcnemar(first_only, second_only) == pytest.approx(naive(first_only, second_only))
    assert mcnemar(first_only, second_only) == mcnemar(second_only, first_only)


@pytest.mark.parametrize(
    ("first_only", "second_only", "p"), [(0, 0, 1.0), (5, 5, 1.0), (0, 6, 0.03125), (1, 9, 0.021484375)]
)
def test_known_values(first_only: int, second_only: int, p: float) -> None:
    assert mcnemar(first_only, second_only) == p


def test_many_trials() -> None:
    assert mcnemar(4900, 5100) == pytest.approx(0.0466, abs=1e-3)
    assert mcnemar(0, 5000) == 0


def test_counts_below_zero_are_refused() -> None:
    with pytest.raises(UsageError, match="-1"):
        mcnemar(3, -1)


def test_compare_counts_who_alone_is_right() -> None:
    pairs = [(True, True), (True, False), (False, True), (False, True), (False, False)]
    assert compare(iter(pairs)) == Paired(5, 1, 2, 1.0)
