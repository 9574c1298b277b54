"""Mean and spread over seeds, and whether two rows can be told apart.

The verdict on two rows is Welch's t-test (two-sided, unequal variances) at p < 0.05 over seeds. Two caveats:

- Power. At 3 seeds a side and a spread of 0.3 points in both rows, a true difference must be about 1 point to be seen
  in four of five repetitions. So "≈" says that these runs do not tell the rows apart, not that they are equal.
- Many pairs. p is not corrected: of twenty pairs of equal rows, one is expected to be called different.

Spread over seeds covers initialisation, data order and augmentation of pretraining and transfer together, as a seed
sets both; it does not cover the choice of images or of hyperparameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance
from typing import Literal

LEVEL = 0.05

Word = Literal["higher", "lower", "≈", "?"]


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation (n − 1; None for one value) and number of values."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Verdict:
    """Whether a row lies above another: `higher`, `lower`, `≈` (cannot be told apart), `?` (cannot be judged)."""

    word: Word
    p: float | None  # None where the test is undefined

    @property
    def symbol(self) -> str:
        """One character for a table's cell."""
        return {"higher": "↑", "lower": "↓"}.get(self.word, self.word)


def summarise(values: Sequence[float]) -> Summary:
    """Return mean, sample standard deviation and n of at least one value."""
    return Summary(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def compare(values: Sequence[float], others: Sequence[float]) -> Verdict:
    """Return whether `values` lie above `others`, by Welch's t-test at LEVEL.

    `?` when either side has fewer than two values, or neither has any spread: then there is nothing to test against.
    """
    if len(values) < 2 or len(others) < 2 or (stdev(values) == 0 and stdev(others) == 0):
        return Verdict("?", None)
    p = _welch(values, others)
    if math.isnan(p) or p >= LEVEL:
        return Verdict("≈", p)
    return Verdict("higher" if fmean(values) > fmean(others) else "lower", p)


def _welch(values: Sequence[float], others: Sequence[float]) -> float:
    """The two-sided p of Welch's t-test: t against Student's distribution with Satterthwaite's degrees of freedom.

    As scipy.stats.ttest_ind(equal_var=False), whose import alone takes longer than most tables.
    """
    from scipy.special import stdtr  # 0.1 s, hence not at the top

    a, b = variance(values) / len(values), variance(others) / len(others)
    t = (fmean(values) - fmean(others)) / math.sqrt(a + b)
    freedom = (a + b) ** 2 / (a**2 / (len(values) - 1) + b**2 / (len(others) - 1))
    return float(2 * stdtr(freedom, -abs(t)))
