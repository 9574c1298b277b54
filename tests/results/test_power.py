"""The power of Welch's test and what follows from it, against simulations and against scipy's noncentral t."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.results.power import MOST_TRUNKS, power_of, smallest_difference, trunks_for

SIZES = [(2, 2), (3, 3), (3, 6), (6, 3), (5, 5), (12, 12)]


@pytest.mark.parametrize(("n", "others"), SIZES)
def test_power_is_what_a_simulation_finds(n: int, others: int) -> None:
    from scipy.stats import binomtest, ttest_ind

    draws, spread = 20_000, 0.7
    rng = np.random.default_rng([n, others])
    rows, baseline = rng.normal(size=(draws, n)) * spread, rng.normal(size=(draws, others)) * spread
    for difference in (0.0, 0.8, smallest_difference(spread, n, others)):
        found = ttest_ind(rows + difference, baseline, axis=1, equal_var=False).pvalue < 0.05
        interval = binomtest(int(found.sum()), draws).proportion_ci(0.9999)
        assert interval.low < power_of(difference, spread, n, others) < interval.high


def by_scipy(noncentrality: float, n: int, others: int, level: float) -> float:
    """The same integral, by another quadrature and with scipy.stats's distributions."""
    from scipy.integrate import quad
    from scipy.stats import beta, nct, t

    def given(angle: float) -> float:
        u = math.sin(angle) ** 2  # the first row's share; the density is finite in the angle
        a, b = u / (n * (n - 1)), (1 - u) / (others * (others - 1))
        threshold = t.isf(level / 2, (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (others - 1)))
        threshold *= math.sqrt((a + b) * (n + others - 2) / (1 / n + 1 / others))
        beyond = nct.sf(threshold, n + others - 2, noncentrality) + nct.cdf(-threshold, n + others - 2, noncentrality)
        return beyond * beta.pdf(u, (n - 1) / 2, (others - 1) / 2) * math.sin(2 * angle)

    return quad(given, 0, math.pi / 2)[0]


@pytest.mark.parametrize(("n", "others"), [(3, 3), (3, 6), (5, 5)])
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_power_is_that_of_scipys_noncentral_t(n: int, others: int, level: float) -> None:
    for noncentrality in (0.0, 1.0, 3.5):
        difference = noncentrality * math.sqrt(1 / n + 1 / others)
        assert power_of(difference, 1.0, n, others, level) == pytest.approx(
            by_scipy(noncentrality, n, others, level), rel=1e-6
        )


@pytest.mark.parametrize("n", [60, 250])
def test_power_of_many_trunks_is_that_of_students_test(n: int) -> None:
    from scipy.stats import nct, t

    threshold, noncentrality = t.isf(0.025, 2 * n - 2), 2.5
    student = nct.sf(threshold, 2 * n - 2, noncentrality) + nct.cdf(-threshold, 2 * n - 2, noncentrality)
    assert power_of(noncentrality * math.sqrt(2 / n), 1.0, n, n) == pytest.approx(student, abs=1e-3)


@pytest.mark.parametrize(("n", "others"), [*SIZES, (2, 30), (199, 199), (200, 5000)])
@pytest.mark.parametrize("level", [0.05, 0.05 / 45])
def test_the_smallest_difference_has_the_power_that_it_is_for(n: int, others: int, level: float) -> None:
    smallest = smallest_difference(2.0, n, others, level)
    assert power_of(smallest, 2.0, n, others, level) == pytest.approx(0.8, abs=1e-9)
    assert smallest_difference(4.0, n, others, level) == pytest.approx(2 * smallest)
    assert smallest_difference(2.0, n, others, level / 10) > smallest


def test_the_table_for_a_spread_of_one() -> None:
    # As simulated above; 3 trunks a side of spread 0.3 see 1.05, the "about 1 point" of the module on statistics.
    smallest = {n: round(smallest_difference(1.0, n, n), 2) for n in (2, 3, 5, 10)}
    assert smallest == {2: 10.39, 3: 3.51, 5: 2.08, 10: 1.33}


def test_as_many_trunks_as_are_needed_and_no_more() -> None:
    for difference in (10.0, 3.0, 1.0, 0.2):
        n = trunks_for(difference, 1.0)
        assert n is not None
        assert power_of(difference, 1.0, n, n) >= 0.8
        assert n == 2 or power_of(difference, 1.0, n - 1, n - 1) < 0.8
    assert trunks_for(20.0, 1.0) == 2
    assert trunks_for(1e-4, 1.0) is None
    assert power_of(1e-2, 1.0, MOST_TRUNKS, MOST_TRUNKS) > 0.6  # no overflow on the way
