"""Running sums of the loss and its terms, kept on the device, and of the time that data was waited for."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.data.views import Batch
from bench.train.distributed import Ranks
from bench.train.divergence import REMEDY, Diverged, terms_words


@dataclass(frozen=True)
class Means:
    """Means over an interval, on the device until they are read."""

    names: tuple[str, ...]
    values: Tensor  # one for each name, float64

    def read(self, step: int, last_good: str) -> dict[str, float]:
        """Return them; waits for the device. Raises Diverged when one is not finite."""
        means = dict(zip(self.names, self.values.tolist(), strict=True))
        for name, mean in means.items():
            if not math.isfinite(mean):
                said = f"{last_good}. Means since the last log step: {terms_words(means)}"
                raise Diverged(f"{name} became {mean} by step {step}; {said}. {REMEDY}")
        return means


class Meter:
    """What happened since the last log step. Only reading waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # float64, on the device
        self._parts = 0  # micro-batches
        self.restart_clock()

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Add the loss terms (each a scalar) of one micro-batch."""
        for name, value in terms.items():
            value = value.detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._parts += 1

    def means(self, ranks: Ranks) -> Means:
        """Return the means so far over micro-batches and ranks, without waiting for a GPU.

        The sums stay, equal on all ranks from here on.
        """
        if not self._parts:
            return Means((), torch.empty(0))
        sums = ranks.mean_(torch.stack(list(self._sums.values())))
        self._sums = dict(zip(self._sums, sums.unbind(), strict=True))
        return Means(tuple(self._sums), sums / self._parts)

    def clear(self) -> None:
        """Start a new interval."""
        self._sums, self._parts = {}, 0

    def restart_clock(self) -> None:
        """Start a new interval of `speed`."""
        self._since, self._waited, self._images = time.perf_counter(), 0.0, 0

    def next_of(self, batches: Iterator[Batch]) -> Batch:
        """Return the next batch; count its images, and the time that it was waited for."""
        before = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - before
        self._images += len(batch)
        return batch

    def speed(self, world: int) -> dict[str, float]:
        """Return images per second over all ranks, and the share of this rank's time spent waiting for data."""
        elapsed = max(time.perf_counter() - self._since, 1e-9)
        return {
            "images_per_second": round(self._images * world / elapsed, 2),
            "data_wait_share": round(self._waited / elapsed, 4),
        }

    def state(self) -> dict[str, Any]:
        """Return the sums, so that a resumed run logs what an undisturbed one would have."""
        return {"sums": {name: value.cpu() for name, value in self._sums.items()}, "parts": self._parts}

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from sums that `state` returned."""
        self._sums = {name: value.to(device) for name, value in state["sums"].items()}
        self._parts = int(state["parts"])
