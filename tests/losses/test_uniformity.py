from __future__ import annotations

import pytest
import torch
from lightly.loss.hypersphere_loss import HypersphereLoss

from bench.losses.uniformity import align_uniform, alignment, uniformity


def unit_rows(x):
    return [row / sum(row * row).sqrt() for row in x]


def naive(x, y, t=2.0):
    x, y = unit_rows(x), unit_rows(y)
    n = len(x)
    align = sum(sum((a - b) ** 2) for a, b in zip(x, y, strict=True)) / n

    def uniform(rows):
        pairs = [torch.exp(-t * sum((rows[i] - rows[j]) ** 2)) for i in range(n) for j in range(i)]
        return torch.log(sum(pairs) / len(pairs))

    return align + (uniform(x) + uniform(y)) / 2


def test_equals_the_formula_and_lightly(draw, same):
    x, y = draw(6, 4), draw(6, 4, seed=1)
    same(align_uniform, naive, x, y)
    same(align_uniform, HypersphereLoss(t=2), x, y)
    same(lambda x, y: align_uniform(x, y, t=1.0), HypersphereLoss(t=1), x, y)


def test_reference_value(oracle_pair):
    assert align_uniform(*oracle_pair).item() == pytest.approx(-2.76409651, abs=5e-9)


def test_extremes():
    x = torch.eye(5, dtype=torch.float64)
    assert uniformity(x[:1].expand(4, 5)).item() == pytest.approx(0.0)  # all in one point
    assert uniformity(x).item() == pytest.approx(-4.0)  # all orthogonal: distance² 2, t 2
    assert alignment(x, 3 * x).item() == pytest.approx(0.0)
    assert alignment(x, -x).item() == pytest.approx(4.0)


def test_scale_order_and_rotation_do_not_matter(draw):
    x, y = draw(6, 4), draw(6, 4, seed=1)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    rotation = torch.linalg.qr(draw(4, 4, seed=2))[0]
    expected = align_uniform(x, y)
    torch.testing.assert_close(align_uniform(5 * x[order] @ rotation, 0.1 * y[order] @ rotation), expected)
    torch.testing.assert_close(align_uniform(y, x), expected)


def test_gradient_is_finite_where_rows_coincide():
    x = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
    align_uniform(x, x).backward()
    assert torch.isfinite(x.grad).all()


def test_guards(draw):
    with pytest.raises(ValueError, match="at least two rows"):
        uniformity(draw(1, 3))
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\) differ in shape"):
        alignment(draw(3, 2), draw(4, 2))
