"""The contrastive loss of 2006 and triplets against loops over pairs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.losses.pairwise import triplet
from bench.objectives.contrastive_2006 import dissimilar, similar
from bench.objectives.dsm import triplet_losses


def pairs_by_hand(x, y, margin):
    """Equation 4, pair by pair: Y = 0 pulls, Y = 1 pushes out of the margin."""
    near, far = [], []
    for i in range(len(x)):
        for j in range(len(y)):
            d = (x[i] - y[j]).square().sum().sqrt()
            if i == j:
                near.append(0.5 * d**2)
            else:
                far.append(0.5 * torch.clamp(margin - d, min=0) ** 2)
    return sum(near) / len(near), sum(far) / len(far)


def test_both_terms_are_equation_4(draw, same):
    x, y = 0.4 * draw(5, 3), 0.4 * draw(5, 3, seed=1)
    same(similar, lambda a, b: pairs_by_hand(a, b, 1.0)[0], x, y)
    same(lambda a, b: dissimilar(a, b, 1.0), lambda a, b: pairs_by_hand(a, b, 1.0)[1], x, y)


def test_the_margin_is_of_the_distance_not_of_its_square():
    x = torch.tensor([[0.0], [5.0]])
    y = torch.tensor([[0.0], [0.5]])  # 0 and 0.5 are another image's; 5 and 0 are far
    assert dissimilar(x, y, 1.0).item() == pytest.approx(0.5 * 0.5**2 / 2)  # not ½·(1 − 0.25)² / 2


def test_similar_pairs_are_pulled_and_others_pushed_only_within_the_margin(draw):
    x, y = (draw(4, 3, seed=s).requires_grad_() for s in (0, 1))
    (pull,) = torch.autograd.grad(similar(x, y), x)
    torch.testing.assert_close(pull, (x - y).detach() / 4)
    assert dissimilar(100 * x, 100 * y, 1.0) == 0.0
    a = torch.tensor([[0.0], [9.0]], requires_grad=True)
    dissimilar(a, torch.tensor([[9.0], [0.3]]), 1.0).backward()
    assert a.grad[0] > 0  # a step against the gradient takes it away from .3


def test_equal_embeddings_have_no_nan(draw):
    x = torch.ones(4, 3, requires_grad=True)
    for loss in (dissimilar(x, x, 1.0), triplet(x, x, 0.2), triplet(x, x, 0.2, squared=False, mining="all")):
        assert torch.autograd.grad(loss, x)[0].isfinite().all()
    assert dissimilar(x, x, 1.0).item() == pytest.approx(0.5)


def test_where_all_embeddings_are_equal_the_triplet_loss_is_the_margin():
    x = F.normalize(torch.ones(4, 3), dim=1)
    for squared in (True, False):
        for mining in ("semi_hard", "all"):
            assert triplet(x, x, 0.2, squared, mining).item() == pytest.approx(0.2)


def by_hand(x, y, margin, squared, mining):
    total = []
    for i in range(len(x)):
        d = [(x[i] - y[j]).square().sum() for j in range(len(y))]
        d = d if squared else [one.sqrt() for one in d]
        others = [d[j] for j in range(len(y)) if j != i]
        if mining == "semi_hard":
            farther = [one for one in others if one > d[i]]
            others = [min(farther) if farther else max(others)]
        total += [torch.clamp(d[i] - one + margin, min=0) for one in others]
    return sum(total) / len(total)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("mining", ["semi_hard", "all"])
def test_triplets_are_the_formula_over_loops(squared, mining, draw, same):
    x = F.normalize(draw(6, 4), dim=1)
    y = F.normalize(x + 0.8 * draw(6, 4, seed=1), dim=1)
    same(lambda a, b: triplet(a, b, 0.7, squared, mining), lambda a, b: by_hand(a, b, 0.7, squared, mining), x, y)


def test_both_kinds_of_anchor_occur_in_that_test(draw):
    x = F.normalize(draw(6, 4), dim=1)
    d = torch.cdist(x, F.normalize(x + 0.8 * draw(6, 4, seed=1), dim=1))
    some = [(d[i] > d[i, i]).any().item() for i in range(6)]
    assert any(some)
    crossed = torch.tensor([[0.0], [10.0]]), torch.tensor([[10.0], [9.0]])  # no negative is farther than the positive
    assert triplet(*crossed, 0.2, squared=False).item() == pytest.approx(((10 - 9 + 0.2) + (1 - 0 + 0.2)) / 2)


def test_unsquared_is_torchs_and_squared_is_not(draw):
    x, y = F.normalize(draw(2, 4), dim=1), F.normalize(draw(2, 4, seed=1), dim=1)
    torchs = torch.nn.TripletMarginLoss(margin=0.7)(x, y, y.flip(0))  # two images: the other is the only negative
    assert triplet(x, y, 0.7, squared=False, mining="all").item() == pytest.approx(torchs.item(), rel=1e-4)
    assert abs(triplet(x, y, 0.7, squared=True, mining="all") - torchs) > 1e-2


def test_rows_of_one_rank_stand_where_first_says(draw):
    x, y = draw(6, 4), draw(6, 4, seed=1)
    for loss in (
        lambda a, first: dissimilar(a, y, 4.0, first),
        lambda a, first: triplet(a, y, 0.2, first=first),
        lambda a, first: triplet(a, y, 0.2, mining="all", first=first),
    ):
        parts = [loss(x[:3], 0), loss(x[3:], 3)]
        torch.testing.assert_close(torch.stack(parts).mean(), loss(x, 0))


def test_triplets_of_rows_equal_torchs_with_unsquared_distances(draw, same):
    theirs = torch.nn.TripletMarginLoss(margin=0.5, p=2, eps=0.0)
    same(lambda x, p, n: triplet_losses(x, p, n, 0.5)[0], theirs, draw(6, 4), draw(6, 4, seed=1), draw(6, 4, seed=2))
    x = draw(4, 3).requires_grad_()
    value = triplet_losses(x, x.detach(), x.detach(), 0.5)[0]  # nothing tells the negative from the positive
    assert value.item() == pytest.approx(0.5)
    value.backward()
    assert x.grad.isfinite().all()
