"""Keys are normalised among other images than their queries, and come back in the order of the batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.nn.norm import convert_norms
from bench.nn.shuffle import shuffled


@pytest.fixture
def both(ranks):
    """What the two ranks of one run did."""
    return [rank["shuffled"] for rank in ranks[1:]]


@pytest.mark.slow
def test_two_ranks_put_keys_back_in_the_order_of_the_queries(both):
    for rank in both:
        assert torch.equal(rank["keys"], rank["images"])


@pytest.mark.slow
def test_each_rank_normalises_rows_of_the_other(both):
    first, second = (set(rank["given"].flatten().tolist()) for rank in both)
    assert first | second == set(range(16))
    assert not first & second
    for given, rank in ((first, 0), (second, 1)):
        assert 0 < sum(number // 8 != rank for number in given) < 8


@pytest.mark.slow
def test_statistics_are_those_of_the_rows_that_a_rank_was_given(both):
    """Plain batch norm, of a whole that was shuffled: neither this rank's rows nor all."""
    for rank in both:
        given = rank["given"].flatten()
        assert rank["running_mean"] == pytest.approx(given.mean().item())
        assert rank["running_mean"] != pytest.approx(rank["images"].mean().item())
        assert rank["running_mean"] != pytest.approx(7.5)


@pytest.mark.slow
def test_another_draw_is_another_order(both):
    for rank in both:
        assert not torch.equal(rank["given"], rank["given again"])


def test_one_process_normalises_images_in_other_groups_and_puts_them_back():
    images = torch.arange(8, dtype=torch.float64)[:, None]
    seen = []
    norm = convert_norms(nn.BatchNorm1d(1, affine=False, eps=1e-12).double(), "cpu", parts=2)

    def network(batch):
        seen.append(batch)
        return norm(batch)

    torch.manual_seed(0)
    keys = shuffled(network, images)
    (given,) = seen
    assert sorted(given.flatten().tolist()) == list(range(8))
    groups = [sorted(given[i::2].flatten().tolist()) for i in (0, 1)]
    assert groups not in ([[0, 2, 4, 6], [1, 3, 5, 7]], [[1, 3, 5, 7], [0, 2, 4, 6]])
    for group in groups:
        x = torch.tensor(group, dtype=torch.float64)
        expected = (x - x.mean()) / (x - x.mean()).square().mean().sqrt()
        torch.testing.assert_close(keys[[int(number) for number in group], 0], expected)


def test_maps_come_back_in_order_and_no_gradient_passes():
    images = torch.randn(6, 3, 4, 4)
    layer = nn.Conv2d(3, 2, 3, padding=1)
    maps = shuffled(layer, images)
    torch.testing.assert_close(maps, layer(images).detach())
    assert not maps.requires_grad
