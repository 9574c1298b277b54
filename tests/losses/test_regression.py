from __future__ import annotations

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity

from bench.losses.regression import regression, regression_rows, symmetric_regression


def naive(p, z):
    """One direction by loops: the squared distance of the unit vectors."""
    total = p.new_zeros(())
    for i in range(len(p)):
        a = p[i] / sum(x * x for x in p[i]).sqrt()
        b = z[i].detach() / sum(x * x for x in z[i].detach()).sqrt()
        total = total + sum((a[d] - b[d]) ** 2 for d in range(p.shape[1]))
    return total / len(p)


def test_equals_the_formula_and_lightly(draw, same):
    p, z = draw(5, 4), draw(5, 4, seed=1)
    same(regression, naive, p, z)
    lightly = NegativeCosineSimilarity()
    same(regression, lambda p, z: 2 + 2 * lightly(p, z.detach()), p, z)


def test_both_directions_are_summed_not_averaged(draw, same):
    tensors = [draw(6, 8, seed=seed) for seed in range(4)]
    lightly = NegativeCosineSimilarity()
    same(
        symmetric_regression,
        lambda p1, p2, z1, z2: 4 + 2 * lightly(p1, z2.detach()) + 2 * lightly(p2, z1.detach()),
        *tensors,
    )
    p1, p2 = tensors[:2]
    assert symmetric_regression(p1, p2, p2, p1) == pytest.approx(0.0, abs=1e-12)
    assert symmetric_regression(p1, p2, -p2, -p1) == pytest.approx(8.0)


def test_reference_value(oracle_pair):
    assert regression(*oracle_pair).item() == pytest.approx(1.09534335, abs=5e-9)


def test_no_gradient_reaches_the_target(draw):
    p, z = draw(4, 3).requires_grad_(), draw(4, 3, seed=1).requires_grad_()
    symmetric_regression(p, p, z, z).backward()
    assert z.grad is None
    assert p.grad is not None


def test_scale_and_order_do_not_matter(draw):
    p, z = draw(6, 4), draw(6, 4, seed=1)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    expected = regression(p, z)
    torch.testing.assert_close(regression(7 * p, 0.01 * z), expected)
    torch.testing.assert_close(regression(p[order], z[order]), expected)
    assert regression(p[order], z) != pytest.approx(expected.item())


def test_rows_of_any_leading_shape(draw):
    p, z = draw(3, 5, 4), draw(3, 5, 4, seed=1)
    rows = regression_rows(p, z)
    assert rows.shape == (3, 5)
    torch.testing.assert_close(rows[1].mean(), regression(p[1], z[1]))


def test_a_vector_of_zeros_gives_no_nan():
    p = torch.zeros(2, 3, requires_grad=True)
    loss = regression(p, torch.ones(2, 3))
    loss.backward()
    assert loss.item() == 2.0
    assert torch.isfinite(p.grad).all()


def test_shapes_must_agree(draw):
    with pytest.raises(ValueError, match=r"predictions \(4, 3\) and targets \(5, 3\) differ"):
        regression(draw(4, 3), draw(5, 3))
