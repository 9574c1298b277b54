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


def test_alignment_has_the_exponent_of_its_distance(draw, same):
    x, y = draw(5, 4), draw(5, 4, seed=1)
    for alpha in (1.0, 2.0, 3.0):

        def formula(x, y, alpha=alpha):
            distances = [sum((a - b) ** 2).sqrt() for a, b in zip(unit_rows(x), unit_rows(y), strict=True)]
            return sum(d**alpha for d in distances) / len(distances)

        same(lambda x, y, alpha=alpha: alignment(x, y, alpha), formula, x, y)
    x.requires_grad_()
    alignment(x, x.detach(), 1.0).backward()
    assert x.grad.isfinite().all()


def test_extremes():
    x = torch.eye(5, dtype=torch.float64)
    assert uniformity(x[:1].expand(4, 5)).item() == pytest.approx(0.0)  # all in one point
    assert uniformity(x).item() == pytest.approx(-4.0)  # all orthogonal: distance² 2, t 2
    assert alignment(x, 3 * x).item() == pytest.approx(0.0)
    assert alignment(x, -x).item() == pytest.approx(4.0)


def test_gradient_is_finite_where_rows_coincide():
    x = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
    align_uniform(x, x).backward()
    assert torch.isfinite(x.grad).all()


def test_guards(draw):
    with pytest.raises(ValueError, match="at least two rows"):
        uniformity(draw(1, 3))
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\) differ in shape"):
        alignment(draw(3, 2), draw(4, 2))
