"""Whether two models that answered the same trials differ by more than chance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import comb

from slip.errors import UsageError


@dataclass(frozen=True)
class Paired:
    """Trials that two models both answered.

    first_only, second_only: how many one of them alone got right. p: of McNemar's exact test.
    """

    trials: int
    first_only: int
    second_only: int
    p: float


def mcnemar(first_only: int, second_only: int) -> float:
    """The two-sided p of McNemar's exact test (McNemar 1947; binomial, not its approximation).

    The trials that one of two models alone got right, were both as good, would fall to either like a
    fair coin. 1 where there are none. Raises UsageError for counts below 0.
    """
    if min(first_only, second_only) < 0:
        raise UsageError(f"{min(first_only, second_only)} trials are none; give counts of 0 or more")
    tosses = first_only + second_only
    tail = sum(comb(tosses, heads) for heads in range(min(first_only, second_only) + 1))
    return min(1.0, 2 * tail / (1 << tosses))


def compare(pairs: Iterable[tuple[bool, bool]]) -> Paired:
    """The paired test of two models' verdicts on the same trials."""
    pairs = list(pairs)
    first_only = sum(first and not second for first, second in pairs)
    second_only = sum(second and not first for first, second in pairs)
    return Paired(len(pairs), first_only, second_only, mcnemar(first_only, second_only))
