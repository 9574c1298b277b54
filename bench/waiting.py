"""How long loops of this process waited for data: what progress shows, and a record keeps of the whole stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

_totals = [0.0, 0.0]  # seconds waited, and seconds in all, of the loops of this process


class Waits:
    """The time that a loop took, and how much of it was spent waiting for data."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.waited = self.elapsed = 0.0
        self._mark = clock()

    def until_now(self, *, waiting: bool) -> None:
        """Count the time since the last call (at first: since the start)."""
        now = self.clock()
        seconds, self._mark = now - self._mark, now
        self.elapsed += seconds
        _totals[1] += seconds
        if waiting:
            self.waited += seconds
            _totals[0] += seconds

    def shown(self) -> dict[str, str]:
        """Return the share as a field of progress, {"waiting for data": "12%"}; {} at the start."""
        elapsed = self.elapsed + self.clock() - self._mark
        return {"waiting for data": f"{self.waited / elapsed:.0%}"} if elapsed > 0 else {}


class Waiting(Iterator[T]):
    """Iterates over batches, and counts the time that they are waited for."""

    def __init__(self, batches: Iterator[T], clock: Callable[[], float] = time.perf_counter) -> None:
        self._batches, self.waits = batches, Waits(clock)

    def __next__(self) -> T:
        self.waits.until_now(waiting=False)
        try:
            return next(self._batches)
        finally:
            self.waits.until_now(waiting=True)


def total_share() -> float | None:
    """Return the share of their time that all loops so far have waited for data; None where there was no loop."""
    waited, elapsed = _totals
    return round(waited / elapsed, 4) if elapsed > 0 else None
