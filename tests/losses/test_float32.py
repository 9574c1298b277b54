"""Under bf16 autocast a loss is as exact as its bf16 inputs allow."""

from __future__ import annotations

import pytest
import torch

from bench.losses.classification import cross_entropy
from bench.losses.regression import regression
from bench.losses.uniformity import align_uniform
from bench.objectives.two_loss import dense_regression, logistic, variance_covariance

BOXES = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0]]).expand(8, 5)
LABELS = torch.arange(8)
CASES = {
    "regression": regression,
    "logistic": logistic,
    "align_uniform": align_uniform,
    "variance_covariance": variance_covariance,
    "dense": lambda p, z: dense_regression(p.view(8, 2, 2, -1), z.view(8, 2, 2, -1), BOXES.to(p), BOXES.to(p)),
    "cross_entropy": lambda p, z: cross_entropy(p, LABELS) + cross_entropy(z, LABELS),
}


@pytest.mark.parametrize("name", CASES)
def test_autocast_rounds_the_inputs_only(name, draw):
    p = draw(8, 64).bfloat16()
    z = (p.double() + 0.05 * draw(8, 64, seed=1)).bfloat16()
    expected = CASES[name](p.double(), z.double())
    with torch.autocast("cpu", torch.bfloat16):
        value = CASES[name](p, z)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=2e-5, atol=1e-6)


def test_gradient_comes_back_in_the_type_of_the_input(draw):
    p = draw(8, 16).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        logistic(p, p).backward()
    assert p.grad is not None
    assert p.grad.dtype == torch.bfloat16
