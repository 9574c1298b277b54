from __future__ import annotations

from itertools import permutations

import pytest
import torch

from bench.objectives.jigsaw import far_permutations


def distances(orders):
    """Hamming distances of all pairs."""
    return [int((a != b).sum()) for i, a in enumerate(orders) for b in orders[:i]]


def test_they_are_different_permutations_the_same_each_time():
    orders = far_permutations(300)
    assert orders.shape == (300, 9)
    assert torch.equal(orders.sort(1).values, torch.arange(9).expand(300, 9))
    assert len(orders.unique(dim=0)) == 300
    assert torch.equal(far_permutations(300), orders)
    assert torch.equal(far_permutations(40), orders[:40])


@pytest.mark.slow
def test_the_first_nine_share_no_place_and_a_thousand_differ_in_five_or_more():
    assert set(distances(far_permutations(9))) == {9}
    orders = far_permutations(1000)
    differ = (orders[:, None] != orders[None]).sum(-1)
    differ.fill_diagonal_(9)
    assert differ.min() == 5
    assert (differ.sum() - 9 * 1000) / (1000 * 999) > 8.0


def test_each_is_the_farthest_of_all_that_are_left():
    left, chosen = list(permutations(range(4))), []
    for order in far_permutations(24, 4).tolist():
        rank = {
            p: (min(d), sum(d))
            for p in left
            if (d := [sum(a != b for a, b in zip(p, q, strict=True)) for q in chosen] or [0])
        }
        best = max(rank.values())
        assert tuple(order) == min(p for p in left if rank[p] == best)
        left.remove(tuple(order))
        chosen.append(tuple(order))
    assert not left


def test_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="there are 24 permutations of 4 places, not 25"):
        far_permutations(25, 4)
