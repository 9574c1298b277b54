from __future__ import annotations

import math

import pytest
import torch

from bench.losses.adversarial import discrimination
from bench.objectives.context_encoder import fooling


def chance(logit):
    return 1 / (1 + torch.exp(-logit))


def test_discrimination_is_the_mean_of_both_halves_of_the_cross_entropy(draw, same):
    def naive(real, fake):
        total = sum(-torch.log(chance(s)) for s in real) / len(real)
        return (total + sum(-torch.log(1 - chance(s)) for s in fake) / len(fake)) / 2

    same(discrimination, naive, draw(5), draw(4, seed=1))


def test_fooling_has_the_non_saturating_sign(draw, same):
    same(fooling, lambda fake: sum(-torch.log(chance(s)) for s in fake) / len(fake), draw(5))
    lost = torch.full((4,), -20.0, requires_grad=True)  # the discriminator is sure: log(1 − D) would be flat here
    fooling(lost).backward()
    assert torch.allclose(lost.grad, torch.full((4,), -0.25))


def test_value_is_ln_2_at_chance_and_finite_at_extremes():
    zero = torch.zeros(3)
    assert discrimination(zero, zero).item() == pytest.approx(math.log(2))
    assert fooling(zero).item() == pytest.approx(math.log(2))
    far = torch.full((3,), 1e6)
    assert discrimination(-far, far).item() == pytest.approx(1e6)
    assert discrimination(far, -far).item() == 0.0
