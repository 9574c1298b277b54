"""Timing units of work on a device, within a given time."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from bench.stages.costs import Amount, extrapolated

clock = time.perf_counter


class Stopwatch:
    """Times units of work until its time is over. A GPU's work is waited for.

    Args:
        seconds: that may be used, from now on.
        device: that the units compute on.
        memory: returns the most memory that was held so far, in MiB: {"process": …, "gpu": …}.
    """

    def __init__(self, seconds: float, device: torch.device, memory: Callable[[], dict[str, float]]) -> None:
        self.device, self.memory, self.until = device, memory, clock() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - clock()

    def once(self, unit: Callable[[], object]) -> float:
        """Return the seconds of one unit."""
        began = clock()
        unit()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return clock() - began

    def samples(self, unit: Callable[[], object], seconds: float, most: int = 20) -> list[float]:
        """Return the seconds of a unit, time and again for about `seconds`: once at least, `most` times at most."""
        until = min(self.until, clock() + seconds)
        taken = [self.once(unit)]
        while len(taken) < most and clock() + taken[-1] < until:
            taken.append(self.once(unit))
        return taken

    def growing(self, sizes: list[int], unit: Callable[[int], Callable[[], object]], seconds: float) -> Sized:
        """Time a unit on batches of growing sizes, as far as `seconds` reach; the last size is the one that is wanted.

        The first of each size is thrown away. A unit that raises RuntimeError on a batch (too small for it, or too
        large for the memory) is left out; without any size that went, the error is raised.
        """
        until, sized = min(self.until, clock() + seconds), Sized(sizes[-1])
        failure: RuntimeError | None = None
        work: Callable[[], object] = lambda: None  # noqa: E731
        for size in sizes:
            if sized.sizes and 2 * sized.means[-1] * size / sized.sizes[-1] > until - clock():
                break
            try:
                grown = unit(size)
                first, taken = self.once(grown), self.once(grown)
            except RuntimeError as error:
                failure = error
                if sized.sizes:
                    break
                continue
            sized.add(size, first, [taken], self.memory())
            work = grown
        if not sized.sizes:
            raise failure or RuntimeError("no size was given")
        sized.last += self.samples(work, until - clock(), most=4) if until > clock() + sized.last[0] else []
        return sized


class Sized:
    """How long a unit took for batches of growing sizes, and the memory then; and what that says of `wanted`."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.sizes: list[int] = []
        self.means: list[float] = []  # s
        self.warmup = 0.0  # s, that the first unit of all took longer
        self.last: list[float] = []  # s, all of the largest size
        self._memory: list[dict[str, float]] = []

    def add(self, size: int, first: float, taken: list[float], memory: dict[str, float]) -> None:
        """Add a size, larger than those before."""
        mean = sum(taken) / len(taken)
        if not self.sizes:
            self.warmup = max(0.0, first - mean)
        self.sizes.append(size)
        self.means.append(mean)
        self.last = taken
        self._memory.append(memory)

    def amount(self, fixed: float = 0.0) -> Amount:
        """The seconds of a unit of the size that is wanted, without a part of `fixed` seconds that every size has.

        Where only smaller ones were timed, it lies on the straight line through the two largest; at most it is in
        proportion to the size.
        """
        factor = self.wanted / self.sizes[-1]
        amount = Amount.of([max(0.0, one - fixed) for one in self.last]).times(factor)
        if factor == 1 or len(self.sizes) == 1:
            return amount
        means = [*self.means[:-1], sum(self.last) / len(self.last)]
        line = min(amount.middle, extrapolated(self.sizes, means, self.wanted) - fixed)
        return Amount(min(amount.low, line), line, amount.high)

    @property
    def memory(self) -> dict[str, float]:
        """The most memory at the size that is wanted, in MiB."""
        return {
            name: extrapolated(self.sizes, [one.get(name, 0.0) for one in self._memory], self.wanted)
            for name in self._memory[-1]
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence where smaller batches stood in."""
        size = self.sizes[-1]
        return () if size == self.wanted else (f"timed in batches of {size}, not {self.wanted}",)
