"""Mean and spread of a cell's values, grouped by trunk, and whether two rows can be told apart.

A trunk is one set of pretrained weights. A cell's values are nested: values of one trunk differ in the seed of the task
alone, trunks of a row differ in the seed of the pretraining. Values of one trunk share whatever was good or bad about
that pretraining, so they are not independent results of its method. What is independent are the means of the trunks,
one number each: the test of two rows is Welch's t-test (two-sided, unequal variances) of these, at p < 0.05. Of a
balanced design (as many task seeds for each trunk) the mean over task seeds loses nothing, and their noise is in the
spread of the means already.

With a single trunk a side there is no spread between trunks. Several task seeds of it still say how much the task's
own draws move the number; a verdict that rests on this is about these weights, and another pretraining by the same
method may well turn it round. `Verdict.about` says so.

Two caveats:

- Power. At 3 trunks a side and a spread of 0.3 points in both rows, a true difference must be about 1 point to be seen
  in four of five repetitions. So "≈" says that these runs do not tell the rows apart, not that they are equal.
- Many pairs. p is not corrected here: of twenty pairs of equal rows, one is expected to be called different. What
  tables say is corrected (`held_to`, and bench/results/holm.py).

The spread covers initialisation, data order and augmentation, of the pretraining between trunks and of the task within
them. It does not cover the choice of images or of hyperparameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

LEVEL = 0.05
ROUNDING = 1e-9  # of a value, up to which two are the same
THESE_WEIGHTS = "¶"  # marks a verdict about a single trunk, and not about its method

Word = Literal["higher", "lower", "≈", "?"]
About = Literal["methods", "weights"]
Trunks = Sequence[Sequence[float]]  # the values of each trunk, at least one trunk of at least one value


@dataclass(frozen=True)
class Summary:
    """Mean and spread of nested values.

    `mean` is that of the trunks' means. `between` is the sample standard deviation (n − 1) of these; None for one
    trunk. `within` is that of values of one trunk, pooled over the trunks by their degrees of freedom; None where no
    trunk has two values. `n` counts trunks and `count` values.
    """

    mean: float
    between: float | None
    n: int
    within: float | None = None
    count: int = 0  # as `n`, unless given

    def __post_init__(self) -> None:
        """Count one value a trunk where nothing else is said."""
        object.__setattr__(self, "count", self.count or self.n)


@dataclass(frozen=True)
class MeanError:
    """How far a row's mean may be off: the variance of that mean, its degrees of freedom, and what it is the mean of.

    `about` is `methods` where it comes from the spread between trunks, and `weights` where it is that of one trunk's
    task seeds.
    """

    mean: float
    variance: float
    freedom: int
    about: About


@dataclass(frozen=True)
class Verdict:
    """Whether a row lies above another: `higher`, `lower`, `≈` (cannot be told apart), `?` (cannot be judged)."""

    word: Word
    p: float | None  # None where the test is undefined
    about: About = "methods"  # `weights`: about the single trunk of a side, and not about the method that gave it
    adjusted: float | None = None  # p that holds for all verdicts of a family; None where nothing was corrected

    @property
    def symbol(self) -> str:
        """One character for a table's cell."""
        return {"higher": "↑", "lower": "↓"}.get(self.word, self.word)


@dataclass(frozen=True)
class DifferenceOfMeans:
    """How far one row's mean lies above another's: Welch's interval of 95 %, and the p of his test."""

    effect: float
    low: float
    high: float
    p: float
    about: About


def singly(values: Iterable[float]) -> tuple[tuple[float, ...], ...]:
    """Return values of as many trunks, one each."""
    return tuple((value,) for value in values)


def variance(values: Sequence[float]) -> float:
    """Return the sample variance (n − 1) of at least two values; exactly 0 of those that are equal but for rounding.

    Means of task seeds that are equal on paper differ in their last digits, and a test would take that for a spread.
    The standard library's variance takes twenty times as long, as it computes in fractions, and tables call it a great
    deal.
    """
    low, high = min(values), max(values)
    if high - low <= ROUNDING * max(abs(low), abs(high)):
        return 0.0
    mean = fmean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def summarise(trunks: Trunks) -> Summary:
    """Return mean, spread and counts of the values of each trunk."""
    means = [fmean(values) for values in trunks]
    freedom = sum(len(values) - 1 for values in trunks)
    squares = sum((len(values) - 1) * variance(values) for values in trunks if len(values) > 1)
    return Summary(
        mean=fmean(means),
        between=math.sqrt(variance(means)) if len(means) > 1 else None,
        n=len(means),
        within=math.sqrt(squares / freedom) if freedom else None,
        count=sum(map(len, trunks)),
    )


def error_of_mean(trunks: Trunks) -> MeanError | None:
    """Return how far the mean of a row may be off; None where one value is all that there is.

    Of several trunks the variance of their means over their number; of a single one that of its values over theirs.
    """
    means = [fmean(values) for values in trunks]
    about: About = "methods" if len(means) > 1 else "weights"
    values = means if len(means) > 1 else trunks[0]
    if len(values) < 2:
        return None
    return MeanError(fmean(values), variance(values) / len(values), len(values) - 1, about)


def compare(trunks: Trunks, others: Trunks) -> Verdict:
    """Return whether the row of `trunks` lies above that of `others`, by Welch's t-test at LEVEL.

    `?` when either side has one value alone, or neither has any spread: then there is nothing to test against.
    """
    ours, theirs = error_of_mean(trunks), error_of_mean(others)
    if ours is None or theirs is None or (ours.variance == 0 and theirs.variance == 0):
        return Verdict("?", None)
    p = _welch(ours, theirs)
    if math.isnan(p) or p >= LEVEL:
        return Verdict("≈", p, _about(ours, theirs))
    return Verdict("higher" if ours.mean > theirs.mean else "lower", p, _about(ours, theirs))


def held_to(verdict: Verdict, adjusted: float | None) -> Verdict:
    """Return a verdict as it is by an adjusted p, which is not below its own; None leaves it as it is."""
    if adjusted is None:
        return verdict
    return replace(verdict, word="≈" if adjusted >= LEVEL else verdict.word, adjusted=adjusted)


def difference_of(trunks: Trunks, others: Trunks) -> DifferenceOfMeans | None:
    """Return how far the row of `trunks` lies above that of `others`; None where `compare` cannot judge them."""
    from scipy.special import stdtrit

    ours, theirs = error_of_mean(trunks), error_of_mean(others)
    if ours is None or theirs is None or (ours.variance == 0 and theirs.variance == 0):
        return None
    effect = ours.mean - theirs.mean
    reach = float(-stdtrit(freedom_of(ours, theirs), LEVEL / 2)) * math.sqrt(ours.variance + theirs.variance)
    return DifferenceOfMeans(effect, effect - reach, effect + reach, _welch(ours, theirs), _about(ours, theirs))


def _about(ours: MeanError, theirs: MeanError) -> About:
    return "methods" if ours.about == theirs.about == "methods" else "weights"


def freedom_of(ours: MeanError, theirs: MeanError) -> float:
    """Return the degrees of freedom of the difference of two means, by Satterthwaite's approximation."""
    share = ours.variance / (ours.variance + theirs.variance)  # squares of variances may be beyond what a float holds
    return 1 / (share**2 / ours.freedom + (1 - share) ** 2 / theirs.freedom)


def _welch(ours: MeanError, theirs: MeanError) -> float:
    """The two-sided p of Welch's t-test: t against Student's distribution with Satterthwaite's degrees of freedom.

    As scipy.stats.ttest_ind(equal_var=False), whose import alone takes longer than most tables.
    """
    from scipy.special import stdtr  # 0.1 s, hence not at the top

    t = (ours.mean - theirs.mean) / math.sqrt(ours.variance + theirs.variance)
    return float(2 * stdtr(freedom_of(ours, theirs), -abs(t)))
