"""Mean, spread and verdicts against numbers worked out by hand."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from bench.results.statistics import Summary, compare, summarise


def test_mean_and_sample_standard_deviation_by_hand() -> None:
    # Mean (1 + 2 + 6) / 3 = 3; squares 4 + 1 + 9 = 14; 14 / 2 = 7.
    assert summarise([1.0, 2.0, 6.0]) == Summary(3.0, math.sqrt(7.0), 3)
    assert summarise([5.0]) == Summary(5.0, None, 1)


def student_tail(t: float, df: float) -> float:
    """Two-sided p of Student's t by integrating its density."""
    x = np.linspace(-abs(t), abs(t), 200_001)
    scale = math.gamma((df + 1) / 2) / (math.sqrt(df * math.pi) * math.gamma(df / 2))
    return 1 - float(np.trapezoid(scale * (1 + x**2 / df) ** (-(df + 1) / 2), x))


def test_p_is_welchs_by_hand() -> None:
    # Variances 1 and 4 over 3 values each: standard error sqrt(1/3 + 4/3), t = -2 / sqrt(5/3),
    # Welch-Satterthwaite: (5/3)^2 / ((1/3)^2 / 2 + (4/3)^2 / 2) = 2.9412 degrees of freedom.
    verdict = compare([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert verdict.p == pytest.approx(student_tail(-2 / math.sqrt(5 / 3), 50 / 17), rel=1e-6)
    assert verdict.word == "≈"


def test_verdicts() -> None:
    low, high = [64.8, 65.0, 65.2], [69.1, 69.2, 69.6]
    assert compare(high, low).word == "higher"
    assert compare(low, high).word == "lower"
    assert compare(high, low).symbol == "↑"
    assert compare(low, [64.9, 65.3, 65.0]).word == "≈"


@pytest.mark.parametrize(
    ("values", "others"), [([1.0], [2.0, 3.0]), ([1.0, 2.0], [9.0]), ([1.0, 1.0], [2.0, 2.0]), ([1.0, 1.0], [1.0, 1.0])]
)
def test_without_two_seeds_or_any_spread_nothing_is_judged(values: list[float], others: list[float]) -> None:
    verdict = compare(values, others)
    assert (verdict.word, verdict.p) == ("?", None)


def test_equal_rows_are_called_different_in_one_case_of_twenty() -> None:
    rng = np.random.default_rng(0)
    words = [compare(a, b).word for a, b in zip(rng.normal(size=(400, 5)), rng.normal(size=(400, 5)), strict=True)]
    assert 0.02 < sum(word != "≈" for word in words) / len(words) < 0.08


@pytest.mark.parametrize("sizes", [(2, 2), (3, 5), (12, 4)])
def test_welchs_p_is_scipys(sizes: tuple[int, int]) -> None:
    from scipy.stats import ttest_ind

    draw = random.Random(str(sizes))
    for shift in (0.0, 0.5, 3.0):
        values, others = ([draw.gauss(shift * i, 1 + i) for _ in range(n)] for i, n in enumerate(sizes))
        wanted = ttest_ind(values, others, equal_var=False).pvalue
        assert compare(values, others).p == pytest.approx(wanted, rel=1e-10)
