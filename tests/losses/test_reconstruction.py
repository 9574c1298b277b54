from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal

from bench.losses.reconstruction import bernoulli_nll, squared_error
from bench.objectives.context_encoder import banded_squared_error
from bench.objectives.vae import gaussian_nll


def test_squared_error_is_a_sum_over_values_and_a_mean_over_images(draw, same):
    def naive(y, x):
        return sum((a - b) ** 2 for a, b in zip(y.flatten(), x.flatten(), strict=True)) / len(x)

    same(squared_error, naive, draw(3, 2, 2, 2), draw(3, 2, 2, 2, seed=1))


@pytest.mark.parametrize("sigma", [0.1, 1.0, 2.0])
def test_gaussian_is_that_of_torch_distributions_constant_included(draw, same, sigma):
    def oracle(y, x):
        return -Independent(Normal(y, sigma), 3).log_prob(x).mean()

    same(lambda y, x: gaussian_nll(y, x, sigma), oracle, draw(3, 2, 2, 2), draw(3, 2, 2, 2, seed=1))


def test_bernoulli_is_that_of_torch_distributions(draw, same):
    x = draw(3, 2, 2, 2, seed=1).sigmoid()

    def oracle(y):
        return -Independent(Bernoulli(logits=y, validate_args=False), 3).log_prob(x).mean()

    same(lambda y: bernoulli_nll(y, x), oracle, draw(3, 2, 2, 2))


def test_half_precision_is_widened_first():
    y, x = torch.full((2, 5000), 0.1, dtype=torch.bfloat16), torch.zeros(2, 5000)
    assert squared_error(y, x).dtype == torch.float32
    assert squared_error(y, x).item() == pytest.approx(5000 * y[0, 0].float().item() ** 2, rel=1e-5)


def test_the_band_weighs_more_and_the_whole_is_a_mean(draw, same):
    def naive(y, x):
        total = 0.0
        for r in range(6):
            for c in range(6):
                w = 1.0 if 2 <= r < 4 and 2 <= c < 4 else 10.0
                total = total + w * ((x[:, :, r, c] - y[:, :, r, c]) ** 2).sum()
        return total / x.numel()

    same(lambda y, x: banded_squared_error(y, x, 2, 10.0), naive, draw(2, 3, 6, 6), draw(2, 3, 6, 6, seed=1))
