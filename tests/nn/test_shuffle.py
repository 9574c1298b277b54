"""Keys are normalised among other images than their queries, and come back in the batch's own order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.errors import BadInput
from bench.nn.shuffle import check_parts, in_parts, shuffled

SCRIPT = Path(__file__).with_name("shuffle_ranks.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the two ranks of one run found."""
    folder = tmp_path_factory.mktemp("shuffle")
    processes = [
        subprocess.Popen([sys.executable, SCRIPT, str(rank), "2", folder], stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    return [torch.load(folder / f"rank_{rank}.pt") for rank in (0, 1)]


def test_two_ranks_put_keys_back_in_the_order_of_the_queries(found):
    for rank in found:
        assert torch.equal(rank["keys"], rank["images"])


def test_each_rank_normalises_rows_of_the_other(found):
    first, second = (set(rank["seen"].flatten().tolist()) for rank in found)
    assert first | second == set(range(16))
    assert not first & second
    for own, rank in ((first, 0), (second, 1)):
        strangers = {number for number in own if number // 8 != rank}
        assert 0 < len(strangers) < 8


def test_statistics_are_those_of_the_rows_that_a_rank_saw(found):
    """Plain batch norm, of a whole that was shuffled: neither the own rows' nor everyone's."""
    for rank in found:
        seen = rank["seen"].flatten()
        assert rank["running_mean"] == pytest.approx(seen.mean().item())
        assert rank["running_mean"] != pytest.approx(rank["images"].mean().item())
        assert rank["running_mean"] != pytest.approx(7.5)


def test_another_draw_is_another_order(found):
    for rank in found:
        assert not torch.equal(rank["seen"], rank["seen again"])


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
    with pytest.raises(BadInput, match=r"objective.bn_splits is 0; set it to 1"):
        check_parts(8, 0)
