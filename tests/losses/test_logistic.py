from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from bench.objectives.two_loss import least_squares, logistic


def naive(p, z):
    """By loops over all pairs, with log(1 + e^x) spelled out."""

    def cosine(a, b):
        return sum(a * b) / (sum(a * a).sqrt() * sum(b * b).sqrt())

    positive, negative, negatives = p.new_zeros(()), p.new_zeros(()), 0
    for i in range(len(p)):
        for j in range(len(z)):
            s = cosine(p[i], z[j].detach())
            if i == j:
                positive = positive + torch.log(1 + torch.exp(-s)) / len(p)
            else:
                negative = negative + torch.log(1 + torch.exp(s))
                negatives += 1
    return 0.5 * (positive + negative / negatives)


def test_equals_the_formula_and_binary_cross_entropy(draw, same):
    p, z = draw(5, 4), draw(5, 4, seed=1)
    same(logistic, naive, p, z)

    def balanced_bce(p, z):
        s = F.normalize(p, dim=1) @ F.normalize(z.detach(), dim=1).T
        same_image = torch.eye(len(p), dtype=torch.float64)
        weight = same_image / same_image.sum() + (1 - same_image) / (1 - same_image).sum()
        return 0.5 * (weight * F.binary_cross_entropy_with_logits(s, same_image, reduction="none")).sum()

    same(logistic, balanced_bce, p, z)


def test_value_at_orthogonal_negatives_for_any_number_of_images():
    floor = 0.5 * (math.log1p(math.exp(-1)) + math.log(2))
    for n in (2, 7, 16):
        z = torch.eye(n, dtype=torch.float64)
        assert logistic(3 * z, z).item() == pytest.approx(floor)
    assert floor == pytest.approx(0.5032, abs=1e-4)


def test_bounds():
    one = torch.ones(1, 3, dtype=torch.float64)
    opposite = torch.cat([one, -one])
    assert logistic(opposite, opposite).item() == pytest.approx(math.log1p(math.exp(-1)))  # .3133
    assert logistic(opposite, -opposite).item() == pytest.approx(math.log1p(math.exp(1)))  # 1.3133


def test_mean_over_ranks_is_the_loss_of_all(draw):
    p, z = draw(6, 4), draw(6, 4, seed=1)
    parts = [logistic(p[first : first + 2], z, first) for first in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(parts).mean(), logistic(p, z))
    assert logistic(p[2:4], z, 0) != pytest.approx(logistic(p[2:4], z, 2).item())


def test_scale_and_order_do_not_matter(draw):
    p, z = draw(6, 4), draw(6, 4, seed=1)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    torch.testing.assert_close(logistic(9 * p[order], 0.1 * z[order]), logistic(p, z))
    assert logistic(p[order], z) != pytest.approx(logistic(p, z).item())


def test_no_gradient_reaches_the_target(draw):
    p, z = draw(4, 3).requires_grad_(), draw(4, 3, seed=1).requires_grad_()
    logistic(p, z).backward()
    assert z.grad is None
    assert p.grad is not None


def test_guards(draw):
    with pytest.raises(ValueError, match="at least two images"):
        logistic(draw(1, 3), draw(1, 3))
    with pytest.raises(ValueError, match=r"rows 3…5 of targets \(4, 3\) do not fit predictions \(2, 3\)"):
        logistic(draw(2, 3), draw(4, 3), first=3)
    with pytest.raises(ValueError, match="do not fit predictions"):
        logistic(draw(2, 3), draw(4, 5))


def test_least_squares_equals_its_formula(draw, same):
    def formula(p, z):
        s = F.normalize(p, dim=1) @ F.normalize(z.detach(), dim=1).T
        near = sum((1 - s[i, i]) ** 2 for i in range(len(p))) / len(p)
        pairs = [(i, j) for i in range(len(p)) for j in range(len(z)) if i != j]
        return 0.5 * (near + sum((1 + s[i, j]) ** 2 for i, j in pairs) / len(pairs))

    same(least_squares, formula, draw(5, 4), draw(5, 4, seed=1))


def test_values_of_least_squares():
    one = torch.ones(1, 3, dtype=torch.float64)
    opposite = torch.cat([one, -one])
    assert least_squares(opposite, opposite).item() == pytest.approx(0.0)
    assert least_squares(opposite, -opposite).item() == pytest.approx(4.0)
    for n in (2, 7):  # orthogonal negatives, however many
        z = torch.eye(n, dtype=torch.float64)
        assert least_squares(3 * z, z).item() == pytest.approx(0.5)
    with pytest.raises(ValueError, match="at least two images"):
        least_squares(one, one)


def test_mean_of_least_squares_over_ranks_is_the_loss_of_all(draw):
    p, z = draw(6, 4), draw(6, 4, seed=1)
    parts = [least_squares(p[first : first + 2], z, first) for first in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(parts).mean(), least_squares(p, z))
