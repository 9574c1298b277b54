from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.losses.triplet_margin import distance, hinge, hinge_over_others


def test_equals_torchs_triplet_margin_loss_on_unit_vectors(draw, same):
    theirs = torch.nn.TripletMarginLoss(margin=0.5, p=2, eps=0.0)
    unit = lambda loss: lambda *x: loss(*(F.normalize(v, dim=1) for v in x))  # noqa: E731
    same(lambda a, p, n: hinge(a, p, n, 0.5), unit(theirs), draw(6, 4), draw(6, 4, seed=1), draw(6, 4, seed=2))


def test_over_others_is_the_mean_over_pairs_of_different_rows(draw, same):
    def naive(a, p):
        rows = [hinge(a[i : i + 1], p[i : i + 1], a[j : j + 1], 0.5) for i in range(5) for j in range(5) if i != j]
        return torch.stack(rows).mean()

    same(lambda a, p: hinge_over_others(a, p, a, 0.5), naive, draw(5, 4), draw(5, 4, seed=1))
    a, p = draw(6, 4), draw(6, 4, seed=1)
    halves = [hinge_over_others(a[s : s + 3], p[s : s + 3], a, 0.5, first=s) for s in (0, 3)]
    torch.testing.assert_close(sum(halves) / 2, hinge_over_others(a, p, a, 0.5))


def test_squared_distances_would_be_another_loss(draw):
    a, p, n = draw(6, 4), draw(6, 4, seed=1), draw(6, 4, seed=2)
    squared = F.relu(distance(a, p) ** 2 - distance(a, n) ** 2 + 0.5).mean()
    assert abs(hinge(a, p, n, 0.5) - squared) > 0.05


def test_extremes(draw):
    a = draw(4, 3)
    assert hinge(a, a, a, 0.5).item() == pytest.approx(0.5)  # nothing tells the negative from the positive
    assert hinge(a, 2 * a, -a, 0.5).item() == 0.0
    x = a.clone().requires_grad_()
    hinge(x, x, x, 0.5).backward()
    assert x.grad.isfinite().all()
