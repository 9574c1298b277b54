from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import VICRegLoss
from lightly.loss.vicreg_loss import covariance_loss, variance_loss

from bench.losses.variance_covariance import covariance, variance
from bench.objectives.two_loss import variance_covariance


def naive_moments(z):
    """Means, and covariances with N − 1, by loops."""
    n, d = z.shape
    means = [sum(z[i, a] for i in range(n)) / n for a in range(d)]
    return [
        [sum((z[i, a] - means[a]) * (z[i, b] - means[b]) for i in range(n)) / (n - 1) for b in range(d)]
        for a in range(d)
    ]


def naive_variance(z):
    c = naive_moments(z)
    return sum(torch.clamp(1 - torch.sqrt(c[d][d] + 1e-4), min=0) for d in range(len(c))) / len(c)


def naive_covariance(z):
    c = naive_moments(z)
    return sum(c[a][b] ** 2 for a in range(len(c)) for b in range(len(c)) if a != b) / len(c)


def test_terms_equal_the_formula_and_lightly(draw, same):
    z = 0.8 * draw(6, 4)
    same(variance, naive_variance, z)
    same(variance, variance_loss, z)
    same(covariance, naive_covariance, z)
    same(covariance, covariance_loss, z)


def test_sum_is_vicreg_without_invariance_over_25(draw, same):
    x, y = 0.5 * draw(8, 4), 0.7 * draw(8, 4, seed=1)
    lightly = VICRegLoss(lambda_param=0.0)
    same(variance_covariance, lambda x, y: lightly(x, y) / 25, x, y)


def test_reference_value(oracle_pair):
    x, y = oracle_pair
    vicreg = 25 * (F.mse_loss(x, y) + variance_covariance(x, y))
    assert vicreg.item() == pytest.approx(19.94010862, abs=5e-9)


def test_extremes(draw):
    z = draw(200, 3)
    white = (z - z.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T))).T
    assert variance(2 * white).item() == 0.0
    assert covariance(white).item() == pytest.approx(0.0, abs=1e-20)
    assert variance(torch.ones(4, 3, dtype=torch.float64)).item() == pytest.approx(0.99)  # collapsed: 1 − √ε
    shifted = variance_covariance(z + 5, z - 3)
    torch.testing.assert_close(shifted, variance_covariance(z, z))


def test_guard(draw):
    for term in (variance, covariance):
        with pytest.raises(ValueError, match=r"N ≥ 2, got \(1, 3\)"):
            term(draw(1, 3))
