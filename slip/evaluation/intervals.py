"""How sure a measured figure is."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np

from slip.errors import UsageError


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
    means = [float(data[rng.integers(len(data), size=len(data))].mean()) for _ in range(2000)]
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)
