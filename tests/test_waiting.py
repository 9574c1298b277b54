"""The share of time that data was waited for: counted in each loop, and over all of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import waiting
from bench.waiting import Waiting, total_share


@pytest.fixture(autouse=True)
def no_totals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_totals", [0.0, 0.0])


class Clock:
    """Time that passes only where a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_counts_what_it_waits_and_the_process_all_loops() -> None:
    clock = Clock()

    def batches(seconds: float) -> Iterator[int]:
        for number in range(3):
            clock.now += seconds
            yield number

    assert total_share() is None
    slow = Waiting(batches(3.0), clock)
    assert slow.waits.shown() == {}
    next(slow)
    clock.now += 3.0
    assert slow.waits.shown() == {"waiting for data": "50%"}  # what is done with the batch counts at once
    clock.now -= 2.0
    for _ in slow:
        clock.now += 1.0
    assert slow.waits.shown() == {"waiting for data": "75%"}
    assert total_share() == 0.75
    clock.now += 100.0  # between loops nothing counts
    fast = Waiting(batches(0.0), clock)
    for _ in fast:
        clock.now += 4.0
    assert fast.waits.shown() == {"waiting for data": "0%"}
    assert total_share() == 9 / 24
