"""What the tests of losses share: tensors from a seed, and the comparison of two losses by value and gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

Loss = Callable[..., Tensor]


@pytest.fixture
def draw() -> Callable[..., Tensor]:
    """Return draw(*shape, seed) -> float64 normal."""

    def normal(*shape: int, seed: int = 0) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    return normal


@pytest.fixture
def oracle_pair() -> tuple[Tensor, Tensor]:
    """The tensors, 32×64, for which the reference values of several libraries are known."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(32, 64, dtype=torch.float64, generator=generator)
    b = torch.randn(32, 64, dtype=torch.float64, generator=generator)
    return 0.3 * a, 0.3 * (0.5 * a + b)


@pytest.fixture
def same() -> Callable[..., None]:
    """Return same(ours, theirs, *tensors): both losses have the same value and gradients, and these are not all 0."""

    def compare(ours: Loss, theirs: Loss, *tensors: Tensor) -> None:
        results = []
        for loss in (ours, theirs):
            inputs = [tensor.clone().requires_grad_() for tensor in tensors]
            value = loss(*inputs)
            assert value.shape == ()
            grads = torch.autograd.grad(value, inputs, allow_unused=True)
            filled = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, grads, strict=True)]
            results.append((value.detach(), filled))
        (value, grads), (expected, expected_grads) = results
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
        assert any(grad.abs().max() > 1e-6 for grad in expected_grads)
        torch.testing.assert_close(grads, expected_grads, rtol=1e-8, atol=1e-12)

    return compare
