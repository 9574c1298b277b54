"""The order of the images: permutations, any starting point, any number of ranks."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

import pytest

from bench.data.sampler import DrawSampler, steps_per_epoch
from bench.errors import BadInput


def batches(count: int, **settings: int) -> list[list[tuple[int, int]]]:
    given: dict[str, Any] = {"length": 14, "batch_size_per_rank": 4, "seed": 3} | settings
    return list(islice(DrawSampler(**given), count))


def test_a_fresh_permutation_each_epoch() -> None:
    drawn = batches(9)  # three epochs of three steps
    epochs = [[index for batch in drawn[start : start + 3] for index, _ in batch] for start in (0, 3, 6)]
    for epoch in epochs:
        assert len(set(epoch)) == 12
        assert set(epoch) <= set(range(14))
    assert epochs[0] != epochs[1] != epochs[2]
    assert {index for batch in batches(90) for index, _ in batch} == set(range(14))  # no image is always left out
    assert batches(3, seed=4) != drawn[:3]


def test_draws_are_counted_through() -> None:
    assert [draw for batch in batches(9) for _, draw in batch] == list(range(36))


@pytest.mark.parametrize("start", [0, 1, 2, 3, 7])
def test_starting_at_a_step_gives_the_undisturbed_tail(start: int) -> None:
    assert batches(5, start_step=start) == batches(5 + start)[start:]


def test_two_ranks_together_are_one() -> None:
    alone = batches(7)
    first, second = (batches(7, batch_size_per_rank=2, rank=rank, world=2) for rank in (0, 1))
    for whole, even, odd in zip(alone, first, second, strict=True):
        assert whole[0::2] == even
        assert whole[1::2] == odd
    # Resumed, too.
    assert batches(2, batch_size_per_rank=2, rank=1, world=2, start_step=5) == second[5:]


def test_starting_late_costs_nothing() -> None:
    before = time.process_time()
    (batch,) = batches(1, length=1000, start_step=10**12)
    assert time.process_time() - before < 0.5
    assert batch[0][1] == 4 * 10**12


def test_steps_per_epoch() -> None:
    assert steps_per_epoch(14, 4) == 3
    assert steps_per_epoch(4, 4) == 1
    for refused in (lambda: steps_per_epoch(3, 4), lambda: DrawSampler(3, 2, 0, world=2)):
        with pytest.raises(BadInput, match="batch_size 4 is larger than the data set of 3 images; lower batch_size"):
            refused()
