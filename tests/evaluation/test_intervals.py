import pytest
from hypothesis import given
from hypothesis import strategies as st

from slip.errors import UsageError
from slip.evaluation.intervals import bootstrap_mean, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(61, 400, 0.1206, 0.1910), (279, 400, 0.6508, 0.7405), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_wilson_known_values(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = wilson(trials - successes, trials)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high))


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 4), (5, 4)])
def test_wilson_refuses_what_is_no_share(successes: int, trials: int) -> None:
    with pytest.raises(UsageError):
        wilson(successes, trials)


def test_bootstrap_of_a_constant_is_the_constant() -> None:
    assert bootstrap_mean([0.25] * 9) == (0.25, 0.25)


def test_bootstrap_narrows_with_more_values() -> None:
    few, many = bootstrap_mean([0.0, 1.0] * 10), bootstrap_mean([0.0, 1.0] * 1000)
    assert few[0] < many[0] < 0.5 < many[1] < few[1]


def test_bootstrap_refuses_nothing() -> None:
    with pytest.raises(UsageError):
        bootstrap_mean([])
