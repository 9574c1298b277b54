"""Keys are normalised among other images than their queries, and come back in the order of the batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.errors import BadInput
from bench.nn.shuffle import check_parts, in_parts, shuffled

pytestmark = pytest.mark.slow


@pytest.fixture
def both(ranks):
    """What the two ranks of one run did."""
    return [rank["shuffled"] for rank in ranks[1:]]


@pytest.mark.slow
def test_two_ranks_put_keys_back_in_the_order_of_the_queries(both):
    for rank in both:
        assert torch.equal(rank["keys"], rank["images"])


def test_each_rank_normalises_rows_of_the_other(both):
    first, second = (set(rank["given"].flatten().tolist()) for rank in both)
    assert first | second == set(range(16))
    assert not first & second
    for given, rank in ((first, 0), (second, 1)):
        assert 0 < sum(number // 8 != rank for number in given) < 8


def test_statistics_are_those_of_the_rows_that_a_rank_was_given(both):
    """Plain batch norm, of a whole that was shuffled: neither this rank's rows nor all."""
    for rank in both:
        given = rank["given"].flatten()
        assert rank["running_mean"] == pytest.approx(given.mean().item())
        assert rank["running_mean"] != pytest.approx(rank["images"].mean().item())
        assert rank["running_mean"] != pytest.approx(7.5)


def test_another_draw_is_another_order(both):
    for rank in both:
        assert not torch.equal(rank["given"], rank["given again"])


def test_parts_have_their_own_statistics_and_keep_the_order():
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    norm = nn.BatchNorm1d(3).double()
    expected = torch.cat([nn.BatchNorm1d(3).double()(half) for half in (x[:4], x[4:])])
    torch.testing.assert_close(in_parts(norm, x, 2), expected)
    torch.testing.assert_close(in_parts(norm, x, 1), nn.BatchNorm1d(3).double()(x))


def test_parts_of_one_process_hold_shuffled_images_that_are_put_back():
    x = torch.arange(8, dtype=torch.float64)[:, None]
    seen = []

    def network(part):
        seen.append(part)
        return 2 * part

    torch.manual_seed(0)
    assert torch.equal(shuffled(network, x, 2), 2 * x)
    assert [len(part) for part in seen] == [4, 4]
    assert not torch.equal(torch.cat(seen), x)
    assert sorted(torch.cat(seen).flatten().tolist()) == list(range(8))


def test_no_gradient_passes_and_one_part_alone_is_left_as_it_is():
    layer = nn.Linear(1, 1)
    assert not shuffled(layer, torch.zeros(4, 1)).requires_grad
    seen = []
    x = torch.randn(4, 1)
    shuffled(lambda part: seen.append(part) or part, x)
    assert seen[0] is x


def test_parts_that_do_not_divide_the_batch_are_refused():
    check_parts(8, 4)
    for size, parts in ((8, 3), (8, 8)):
        with pytest.raises(BadInput, match=r"objective.bn_splits is \d, but the 8 images of a process .*; set it to 1"):
            check_parts(size, parts)
