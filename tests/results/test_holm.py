"""Holm's step-down against numbers by hand, and the errors that it lets through on simulated families."""

from __future__ import annotations

import numpy as np
import pytest

from bench.results.holm import holm


def test_by_hand() -> None:
    # In order .01, .02, .03, .04: 4 × .01, 3 × .02, 2 × .03, then .04, which may not be below .06.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.01]) == [0.01]
    assert holm([]) == []


def test_an_undefined_test_counts_for_nothing() -> None:
    assert holm([None, 0.01, None, 0.02]) == [None, 0.02, None, 0.02]


def test_some_tests_of_a_larger_family() -> None:
    ps = [0.001, 0.004, 0.03, 0.2, 0.6]
    assert holm(ps[:2], of=5) == pytest.approx([0.005, 0.016])
    whole = holm(ps)
    for chosen in ([0, 2], [1, 3], [4], [0, 1, 2, 3, 4]):
        for place, adjusted in zip(chosen, holm([ps[i] for i in chosen], of=5), strict=True):
            assert adjusted is not None
            assert adjusted >= whole[place] - 1e-15  # never less than with all of them


@pytest.mark.parametrize("equal", [10, 5])
def test_a_true_null_is_rejected_in_one_family_of_twenty(equal: int) -> None:
    """Ten tests of one baseline, of which `equal` hold in truth; the others are rejected nearly always."""
    from scipy.special import ndtr
    from scipy.stats import binomtest

    rng = np.random.default_rng(equal)
    families = 4000
    z = (rng.normal(size=(families, 10)) + rng.normal(size=(families, 1))) / 2**0.5  # a baseline in common
    z[:, equal:] += 6
    ps = 2 * ndtr(-abs(z))
    wrong = sum(any(p < 0.05 for p in holm(list(row))[:equal]) for row in ps)
    uncorrected = sum((row[:equal] < 0.05).any() for row in ps)
    assert binomtest(wrong, families, 0.05, alternative="greater").pvalue > 0.01
    assert wrong > 0
    assert uncorrected / families > 0.12
