"""How sure a measured figure is."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from slip.errors import UsageError

RESAMPLES = 2000
Sums = NDArray[np.float64]


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a share (Wilson 1927): (low, high), each 0 to 1.

    Raises UsageError unless 0 <= successes <= trials and trials > 0.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise UsageError(f"{successes} of {trials} is no share; give 0 <= successes <= trials, trials > 0")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    reach = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    low = centre - reach if successes > 0 else 0.0
    high = centre + reach if successes < trials else 1.0
    return low, high


def bootstrap_mean(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean, from 2,000 resamples: (low, high).

    Raises UsageError when there is no value.
    """
    if not len(values):
        raise UsageError("no values to take a mean of; measure at least one")
    rng = np.random.default_rng(seed)
    data = np.asarray(values, float)
    means = [float(data[rng.integers(len(data), size=len(data))].mean()) for _ in range(RESAMPLES)]
    return percentiles(np.array(means), confidence)


def percentiles(values: Sums, confidence: float = 0.95) -> tuple[float, float]:
    """Between which values the middle of ``float64 (R,)`` lies: (low, high); those that are NaN are left out.

    What is NaN in every resample has no interval: both ends are NaN.
    """
    told = values[~np.isnan(values)]
    if not len(told):
        return float("nan"), float("nan")
    low, high = np.quantile(told, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def resampled_sums(values: Sums, resamples: int = RESAMPLES, seed: int = 0) -> Sums:
    """What the columns of ``float64 (N, K)`` add up to in each bootstrap resample of its rows, ``(R, K)``.

    A row is what is drawn as a whole: where several trials share a picture, the picture. A share or a mean
    over trials is then the quotient of two columns, and the same seed draws the same rows, so that columns
    of several calls are of the same resamples. Raises UsageError when there is no row.
    """
    rows = len(values)
    if not rows:
        raise UsageError("no values to resample; measure at least one")
    rng = np.random.default_rng(seed)
    together = max(1, _DRAWN // rows)
    sums = []
    for start in range(0, resamples, together):
        count = min(together, resamples - start)
        drawn = rng.integers(rows, size=(count, rows)) + rows * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows)
        sums.append(times @ values)
    return np.concatenate(sums)


_DRAWN = 1 << 20
"""How many rows are drawn at a time, which bounds the memory."""
