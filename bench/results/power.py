"""What a number of trunks can see: the power of Welch's t-test, and the smallest difference that it would show.

Assumed are normal values of the same spread in both rows. The power is then exact, also for few trunks. Of n and m
values let S be the sum of their squares about their own means, in units of the variance, and U the first row's share
of it: S has a chi-square distribution with n + m − 2 degrees of freedom, U that of Beta((n − 1)/2, (m − 1)/2), and both
are independent of each other and of the means (Cochran's theorem, and that of sums of gamma variables). Given U,
Welch's statistic is a multiple of a noncentral t with n + m − 2 degrees of freedom, and Satterthwaite's degrees of
freedom, which set the threshold, are a function of U alone. What remains is an integral over U, by Gauss–Jacobi
quadrature.

The spread is taken as known. It is estimated from few trunks, so that a smallest difference is as uncertain as that:
from 4 degrees of freedom the true spread lies between 0.6 and 2.9 times the estimate (95 %).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from bench.results.statistics import LEVEL

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[tuple[int], np.dtype[np.float64]]

POWER = 0.8  # in how many of repetitions a difference must show to count as seen
MOST_TRUNKS = 100_000  # a row; beyond them nothing is worked out

_NODES = 48
_MANY = 200  # values a row from which U is all but constant, and the test that of equal variances


def power_of(difference: float, spread: float, n: int, others: int, level: float = LEVEL) -> float:
    """Return the probability that Welch's test calls a true difference of two means one, at p < `level`, two-sided.

    Args:
        difference: of the two true means.
        spread: standard deviation of a trunk's value around its row's mean, in the same unit, above 0.
        n: trunks of one row, at least 2.
        others: trunks of the other row, at least 2.
        level: p below which it is called a difference; a corrected level where many tests are made.
    """
    return _power(abs(difference) / spread / math.sqrt(1 / n + 1 / others), n, others, level)


def smallest_difference(spread: float, n: int, others: int, level: float = LEVEL, power: float = POWER) -> float:
    """Return the true difference that Welch's test would call one with this power; other arguments as in `power_of`."""
    return spread * math.sqrt(1 / n + 1 / others) * _noncentrality(n, others, level, power)


def trunks_for(difference: float, spread: float, level: float = LEVEL, power: float = POWER) -> int | None:
    """Return how many trunks each of two rows needs to see a true difference with this power, at least 2.

    None where more than MOST_TRUNKS would be needed. Other arguments as in `power_of`.
    """

    def suffice(n: int) -> bool:
        return power_of(difference, spread, n, n, level) >= power

    if not suffice(MOST_TRUNKS):
        return None
    high = 2
    while not suffice(high):
        high *= 2
    low = high // 2  # does not suffice, or is 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffice(middle) else (middle, high)
    return high


@lru_cache(1024)
def _noncentrality(n: int, others: int, level: float, power: float) -> float:
    """The noncentrality at which the test has this power."""
    low, high = 0.0, 1.0
    while _power(high, n, others, level) < power:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _power(middle, n, others, level) >= power else (middle, high)
    return high


def _power(noncentrality: float, n: int, others: int, level: float) -> float:
    from scipy.special import stdtrit  # 0.1 s, hence not at the top

    freedom = n + others - 2
    if min(n, others) >= _MANY:
        threshold = -stdtrit(freedom, level / 2)
        return float(_beyond(threshold, freedom, noncentrality))
    share, weights = _shares(n, others)
    ours, theirs = share / (n * (n - 1)), (1 - share) / (others * (others - 1))  # variances of the means, in S
    of_welch = (ours + theirs) ** 2 / (ours**2 / (n - 1) + theirs**2 / (others - 1))
    # Welch's t is the noncentral t times the root of the true variance over the estimated one.
    threshold = -stdtrit(of_welch, level / 2) * ((ours + theirs) * freedom / (1 / n + 1 / others)) ** 0.5
    return float(weights @ _beyond(threshold, freedom, noncentrality))


def _beyond(threshold: Array | float, freedom: int, noncentrality: float) -> Array | float:
    """The probability that a noncentral t lies beyond ± threshold, one or many."""
    from scipy.special import nctdtr

    above = 1 - nctdtr(freedom, noncentrality, threshold)
    # On the other side less than Φ(−noncentrality), and scipy's function breaks down there.
    return above + (1 - nctdtr(freedom, -noncentrality, threshold) if noncentrality < 5 else 0)


@lru_cache(256)
def _shares(n: int, others: int) -> tuple[Array, Array]:
    """Nodes and weights (sum 1) of the quadrature over U."""
    from scipy.special import roots_jacobi

    places, weights = roots_jacobi(_NODES, (others - 3) / 2, (n - 3) / 2)
    return (1 + places) / 2, weights / weights.sum()
