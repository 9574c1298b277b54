from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence

from bench.objectives.vae import gaussian_kl


def test_equals_torch_distributions_in_every_dimension(draw, same):
    mu, logvar = draw(5, 4), draw(5, 4, seed=1)

    def oracle(mu, logvar):
        return kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(torch.zeros_like(mu), torch.ones_like(mu)))

    torch.testing.assert_close(gaussian_kl(mu, logvar), oracle(mu, logvar), rtol=1e-12, atol=1e-12)
    weight = draw(5, 4, seed=2)
    same(lambda m, v: (gaussian_kl(m, v) * weight).sum(), lambda m, v: (oracle(m, v) * weight).sum(), mu, logvar)


def test_is_zero_at_the_prior_alone(draw):
    zero = torch.zeros(2, 3, dtype=torch.float64)
    assert not gaussian_kl(zero, zero).any()
    assert (gaussian_kl(zero + 1e-3, zero) > 0).all()
    assert (gaussian_kl(zero, zero - 1e-2) > 0).all()


def test_follows_log_variance_and_not_the_deviation():
    """At σ = 2, μ = 1: ½(1 + 4 − 1 − ln 4)."""
    divergence = gaussian_kl(torch.ones(1, 1), torch.full((1, 1), 4.0).log())
    torch.testing.assert_close(divergence, torch.full((1, 1), 0.5 * (4.0 - 1.3862943611)))
