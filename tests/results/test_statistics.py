"""Mean, spread and verdicts against numbers worked out by hand, and against data whose spread is known."""

from __future__ import annotations

import math
import random
from itertools import chain

import numpy as np
import pytest

from bench.results.statistics import Summary, compare, difference_of, error_of_mean, singly, summarise

Nested = list[list[float]]


def test_mean_and_sample_standard_deviation_by_hand() -> None:
    # Mean (1 + 2 + 6) / 3 = 3; squares 4 + 1 + 9 = 14; 14 / 2 = 7.
    assert summarise(singly([1.0, 2.0, 6.0])) == Summary(3.0, math.sqrt(7.0), 3, None, 3)
    assert summarise([[5.0]]) == Summary(5.0, None, 1, None, 1)


def student_tail(t: float, df: float) -> float:
    """Two-sided p of Student's t by integrating its density."""
    x = np.linspace(-abs(t), abs(t), 200_001)
    scale = math.gamma((df + 1) / 2) / (math.sqrt(df * math.pi) * math.gamma(df / 2))
    return 1 - float(np.trapezoid(scale * (1 + x**2 / df) ** (-(df + 1) / 2), x))


def test_p_is_welchs_by_hand() -> None:
    # Variances 1 and 4 over 3 values each: standard error sqrt(1/3 + 4/3), t = -2 / sqrt(5/3),
    # Welch-Satterthwaite: (5/3)^2 / ((1/3)^2 / 2 + (4/3)^2 / 2) = 2.9412 degrees of freedom.
    verdict = compare(singly([1.0, 2.0, 3.0]), singly([2.0, 4.0, 6.0]))
    assert verdict.p == pytest.approx(student_tail(-2 / math.sqrt(5 / 3), 50 / 17), rel=1e-6)
    assert verdict.word == "≈"


def test_verdicts() -> None:
    low, high = singly([64.8, 65.0, 65.2]), singly([69.1, 69.2, 69.6])
    assert compare(high, low).word == "higher"
    assert compare(low, high).word == "lower"
    assert compare(high, low).symbol == "↑"
    assert compare(low, singly([64.9, 65.3, 65.0])).word == "≈"


@pytest.mark.parametrize(
    ("values", "others"), [([1.0], [2.0, 3.0]), ([1.0, 2.0], [9.0]), ([1.0, 1.0], [2.0, 2.0]), ([1.0, 1.0], [1.0, 1.0])]
)
def test_without_two_trunks_or_any_spread_nothing_is_judged(values: list[float], others: list[float]) -> None:
    verdict = compare(singly(values), singly(others))
    assert (verdict.word, verdict.p) == ("?", None)


def test_equal_rows_are_called_different_in_one_case_of_twenty() -> None:
    rng = np.random.default_rng(0)
    pairs = zip(rng.normal(size=(400, 5)), rng.normal(size=(400, 5)), strict=True)
    words = [compare(singly(a), singly(b)).word for a, b in pairs]
    assert 0.02 < sum(word != "≈" for word in words) / len(words) < 0.08


@pytest.mark.parametrize("sizes", [(2, 2), (3, 5), (12, 4)])
def test_welchs_p_is_scipys(sizes: tuple[int, int]) -> None:
    from scipy.stats import ttest_ind

    draw = random.Random(str(sizes))
    for shift in (0.0, 0.5, 3.0):
        values, others = ([draw.gauss(shift * i, 1 + i) for _ in range(n)] for i, n in enumerate(sizes))
        wanted = ttest_ind(values, others, equal_var=False).pvalue
        assert compare(singly(values), singly(others)).p == pytest.approx(wanted, rel=1e-10)


def test_nested_values_by_hand() -> None:
    # Means 2, 5 and 9: their mean 16/3; squares (10² + 1² + 11²) / 9 = 222/9, over 2. Within: squares 2, 2 and 0 over
    # 2 + 1 + 0 degrees of freedom.
    summary = summarise([[1.0, 2.0, 3.0], [4.0, 6.0], [9.0]])
    assert (summary.n, summary.count) == (3, 6)
    assert summary.mean == pytest.approx(16 / 3)
    assert summary.between == pytest.approx(math.sqrt(222 / 9 / 2))
    assert summary.within == pytest.approx(math.sqrt(4 / 3))


def test_one_trunk_by_several_task_seeds_is_one_trunk() -> None:
    summary = summarise([[1.0, 2.0, 6.0]])
    assert summary == Summary(3.0, None, 1, math.sqrt(7.0), 3)


def nested(
    rng: np.random.Generator, rows: int, trunks: int, seeds: int, between: float, within: float, mean: float = 0.0
) -> list[Nested]:
    """Rows of trunks, each measured by as many seeds, with these standard deviations."""
    bases = mean + between * rng.normal(size=(rows, trunks, 1))
    return (bases + within * rng.normal(size=(rows, trunks, seeds))).tolist()


def test_spreads_of_simulated_rows_are_those_that_were_put_in() -> None:
    # The variance of a mean of 4 task seeds is 0.9² + 0.6² / 4 = 0.9.
    rows = [summarise(row) for row in nested(np.random.default_rng(1), 2000, 5, 4, 0.9, 0.6)]
    between, within = (np.mean([getattr(row, name) ** 2 for row in rows]) for name in ("between", "within"))
    assert between == pytest.approx(0.9, rel=4 * math.sqrt(2 / 4 / 2000))  # four standard errors of a variance
    assert within == pytest.approx(0.36, rel=4 * math.sqrt(2 / 15 / 2000))


def test_p_of_nested_rows_is_that_of_the_trunks_means() -> None:
    ours, theirs = [[1.0, 3.0], [4.0, 4.0], [5.0, 7.0]], [[0.0], [1.0], [3.5]]
    assert compare(ours, theirs) == compare(singly([2.0, 4.0, 6.0]), singly([0.0, 1.0, 3.5]))
    assert compare(ours, theirs).about == "methods"


def test_several_task_seeds_make_no_more_trunks() -> None:
    """Equal rows are called different in one case of twenty; with each value as a trunk it would be many more."""
    rng, count = np.random.default_rng(2), 1500
    ours, theirs = (nested(rng, count, 6, 4, 1.0, 0.3) for _ in range(2))
    pairs = list(zip(ours, theirs, strict=True))
    apart = sum(compare(a, b).word != "≈" for a, b in pairs) / count
    naive = sum(compare(singly(chain(*a)), singly(chain(*b))).word != "≈" for a, b in pairs) / count
    assert abs(apart - 0.05) < 3 * math.sqrt(0.05 * 0.95 / count)
    assert naive > 0.2


def test_of_a_single_trunk_the_spread_of_its_task_seeds_judges_these_weights() -> None:
    weights, method = [[10.0, 10.2, 10.4]], singly([1.0, 2.0, 3.0])
    verdict = compare(weights, method)
    assert (verdict.word, verdict.about) == ("higher", "weights")
    # Variances .04 and 1 over three values each; degrees of freedom (1.04)² / (.04² / 2 + 1 / 2) = 2.1598.
    wanted = student_tail(8.2 / math.sqrt(1.04 / 3), 1.04**2 / ((0.04**2 + 1) / 2))
    assert verdict.p == pytest.approx(wanted, rel=1e-4)
    assert compare(method, weights).about == "weights"
    assert compare(weights, [[9.0, 9.1]]).about == "weights"


def test_equal_weights_are_called_different_in_one_case_of_twenty() -> None:
    rng, count = np.random.default_rng(3), 1500
    pairs = zip(*(nested(rng, count, 1, 6, 0.0, 0.5) for _ in range(2)), strict=True)
    apart = sum(compare(a, b).word != "≈" for a, b in pairs) / count
    assert abs(apart - 0.05) < 3 * math.sqrt(0.05 * 0.95 / count)


def test_a_single_value_has_no_error() -> None:
    assert error_of_mean([[5.0]]) is None
    assert compare([[5.0]], singly([1.0, 2.0])).word == "?"


def test_means_that_differ_by_rounding_alone_have_no_spread() -> None:
    """Means of task seeds: 61.2 twice, and 62.2 twice, but for the last digit of a sum."""
    ours, theirs = [[61.0, 61.2, 61.4], [61.2] * 3], [[62.1, 62.2, 62.3], [62.2] * 3]
    verdict = compare(ours, theirs)
    assert (verdict.word, verdict.p) == ("?", None)
    assert difference_of(ours, theirs) is None
    assert summarise(ours).between == 0
    assert summarise(singly([0.1 + 0.2, 0.3])).between == 0
    assert compare(singly([61.0, 61.002]), singly([62.0, 62.0])).p is not None  # one image of 50,000


@pytest.mark.parametrize("size", [1e-90, 1.0, 1e99])
def test_p_does_not_hang_on_the_unit_of_the_values(size: float) -> None:
    ours, theirs = ([[size * value] for value in values] for values in ((1.0, 2.0, 6.0), (7.0, 9.0)))
    verdict, scaled = compare([[1.0], [2.0], [6.0]], [[7.0], [9.0]]), compare(ours, theirs)
    assert verdict.p is not None
    assert scaled.p == pytest.approx(verdict.p)
    assert difference_of(ours, theirs) is not None
