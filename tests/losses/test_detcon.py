from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import DetConBLoss, DetConSLoss

from bench.objectives.detcon import detcon

N, M, D = 3, 4, 5
IDS1 = torch.tensor([[0, 1, 1, 2], [3, 3, 3, 3], [0, 1, 2, 3]])
IDS2 = torch.tensor([[1, 1, 0, 5], [4, 5, 4, 5], [3, 2, 1, 0]])  # the second image shares no region


@pytest.fixture
def tensors(draw):
    return [draw(N, M, D, seed=seed) for seed in range(4)]


def naive(p1, p2, z1, z2, ids1, ids2, tau):
    """Region by region, as the paper and its code have it."""

    def cos(a, b):
        return sum(a * b) / sum(a * a).sqrt() / sum(b * b).sqrt()

    total = 0
    for p, same_view, other, ids, ids_other in ((p1, z1, z2, ids1, ids2), (p2, z2, z1, ids2, ids1)):
        for i in range(len(p)):
            for r in range(p.shape[1]):
                positives = [s for s in range(p.shape[1]) if ids_other[i, s] == ids[i, r]]
                if not positives:
                    continue
                below = sum(torch.exp(cos(p[i, r], z) / tau) for z in other.flatten(0, 1))
                for j in range(len(same_view)):
                    for s in range(p.shape[1]):
                        if j != i or ids[i, s] != ids[i, r]:
                            below = below + torch.exp(cos(p[i, r], same_view[j, s]) / tau)
                repeats = sum(1 for s in range(p.shape[1]) if ids[i, s] == ids[i, r])
                for s in positives:
                    share = torch.exp(cos(p[i, r], other[i, s]) / tau) / below
                    total = total - torch.log(share) / len(positives) / repeats
    return total / (len(p1) * p1.shape[1])


def test_value_and_gradient_are_those_of_the_formula(tensors, same):
    same(lambda *x: detcon(*x, IDS1, IDS2, 0.1), lambda *x: naive(*x, IDS1, IDS2, 0.1), *tensors)


def test_equals_lightlys_detconb(tensors, same):
    lightly = DetConBLoss(temperature=0.1)

    def theirs(*x):
        return lightly(*x, IDS1, IDS2)

    same(lambda *x: detcon(*x, IDS1, IDS2, 0.1), theirs, *tensors)


def test_equals_lightlys_detcons_where_predictions_are_the_targets(tensors, same):
    lightly = DetConSLoss(temperature=0.5)
    ours = lambda a, b: detcon(a, b, a, b, IDS1, IDS2, 0.5)  # noqa: E731
    same(ours, lambda a, b: lightly(a, b, IDS1, IDS2), *tensors[:2])


def test_the_same_region_of_the_same_view_is_no_candidate(tensors):
    p1, p2, z1, z2 = tensors
    ids = torch.zeros(1, M, dtype=torch.int64)  # one image, one region: only the other view is left
    p1, p2, z1, z2 = (x[:1] for x in (p1, p2, z1, z2))
    loss = detcon(p1, p2, z1, z2, ids, ids, 0.1)
    torch.testing.assert_close(detcon(p1, p2, z1, 3 * z2, ids, ids, 0.1), loss)
    one = detcon(p1[:, :1], p2[:, :1], z1[:, :1], z2[:, :1], ids[:, :1], ids[:, :1], 0.1)
    assert one.item() == pytest.approx(0.0, abs=1e-12)  # the positive is alone


def test_regions_of_other_images_with_the_same_number_are_negatives():
    p = torch.eye(2, dtype=torch.float64)[:, None]  # two images, one region of number 0 each
    ids = torch.zeros(2, 1, dtype=torch.int64)
    expected = 2 * math.log(1 + 2 * math.exp(-10))  # against the other image's in both views
    assert detcon(p, p, p, p, ids, ids, 0.1).item() == pytest.approx(expected, rel=1e-6)


def test_a_region_without_a_partner_adds_nothing_and_stays_in_the_mean(tensors):
    p1, p2, z1, z2 = tensors
    ids = torch.arange(M).expand(N, M)
    other = ids.clone()
    other[1] += 100
    lonely = detcon(p1, p2, z1, z2, ids, other, 0.1)
    gradient = torch.autograd.grad(detcon(q := p1.clone().requires_grad_(), p2, z1, z2, ids, other, 0.1), q)[0]
    assert not gradient[1].any()
    assert gradient[0].any()
    assert lonely < detcon(p1, p2, z1, z2, ids, ids, 0.1)


def test_exchanging_the_views_or_scaling_changes_nothing(tensors):
    p1, p2, z1, z2 = tensors
    loss = detcon(p1, p2, z1, z2, IDS1, IDS2, 0.1)
    torch.testing.assert_close(detcon(p2, p1, z2, z1, IDS2, IDS1, 0.1), loss)
    torch.testing.assert_close(detcon(2 * p1, 3 * p2, 4 * z1, 5 * z2, IDS1, IDS2, 0.1), loss)


def test_a_high_temperature_makes_all_candidates_alike(tensors):
    ids = torch.arange(M).expand(N, M)
    loss = detcon(*tensors, ids, ids, 1e9)
    assert loss.item() == pytest.approx(2 * math.log(2 * N * M - 1), abs=1e-6)


def test_rows_of_a_rank_find_their_own_targets(tensors):
    p1, p2, z1, z2 = tensors
    whole = detcon(p1, p2, z1, z2, IDS1, IDS2, 0.1)
    parts = [detcon(p1[i : i + 1], p2[i : i + 1], z1, z2, IDS1[i : i + 1], IDS2[i : i + 1], 0.1, i) for i in range(N)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_shapes_must_agree(tensors):
    with pytest.raises(ValueError, match="detcon wants n×M×D twice"):
        detcon(*tensors, IDS1, IDS2[:, :2], 0.1)
    with pytest.raises(ValueError, match="detcon wants n×M×D twice"):
        detcon(*tensors, IDS1, IDS2, 0.1, first=1)
