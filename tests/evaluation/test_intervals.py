import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slip.errors import UsageError
from slip.evaluation.intervals import bootstrap_mean, percentiles, resampled_sums, wilson


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


def test_percentiles_leave_out_what_is_not_a_number() -> None:
    values = np.array([*range(101), np.nan], float)
    assert percentiles(values) == pytest.approx((2.5, 97.5))
    assert percentiles(values, 0.5) == pytest.approx((25, 75))
    assert np.isnan(percentiles(np.array([np.nan]))).all()


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 5))
def test_resampled_sums_are_those_of_a_plain_loop(rows: int, columns: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(rows, columns))
    rng = np.random.default_rng(seed)
    plain = [values[rng.integers(rows, size=rows)].sum(axis=0) for _ in range(20)]
    assert resampled_sums(values, 20, seed) == pytest.approx(np.array(plain))


def test_resamples_do_not_depend_on_how_many_are_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(7, 2))
    together = resampled_sums(values, 50)
    monkeypatch.setattr("slip.evaluation.intervals._DRAWN", 20)
    assert (resampled_sums(values, 50) == together).all()


def test_resamples_of_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="no values to resample"):
        resampled_sums(np.zeros((0, 2)))
