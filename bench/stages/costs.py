"""What a stage costs, in parts that were timed apart: pure arithmetic, without torch and without a clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from bench.config.recipe import Frozen

LEAST = 0.1  # an interval is at least so wide on either side, as a share: a machine is not equally fast twice

SEVERAL = 0.3  # the same for several processes, of which one was timed


class Amount(NamedTuple):
    """A number that was measured several times: the least, the mean, and the most."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Amount:
        """Return that of some samples; ValueError without one."""
        return cls(min(samples), sum(samples) / len(samples), max(samples))

    def times(self, factor: float) -> Amount:
        """Return each of the three multiplied."""
        return Amount(*(factor * value for value in self))

    def widened(self, share: float = LEAST) -> Amount:
        """Return an interval that reaches at least `share` of the middle to either side."""
        return Amount(min(self.low, (1 - share) * self.middle), self.middle, max(self.high, (1 + share) * self.middle))


NOTHING = Amount(0.0, 0.0, 0.0)


def total(amounts: Iterable[Amount]) -> Amount:
    """Return the sum. Ends of intervals add up, since what slows a machine down slows all of its work down."""
    rows = list(amounts)
    return Amount(*(sum(column) for column in zip(*rows, strict=True))) if rows else NOTHING


class Phase(Frozen):
    """One kind of work that a stage repeats: `count` units, such as steps, whose data are read and then computed with.

    `load` is the seconds in which one process reads the data of a unit, with nothing beside it; `compute` those of the
    rest, with the data at hand.
    """

    name: str
    count: int
    load: Amount = NOTHING
    compute: Amount = NOTHING
    workers: int = 0  # processes that read ahead; 0: the one that computes reads, too
    shared: bool = False  # whether readers and the computation share the cores of a CPU
    makes: str = ""  # the features that it leaves for other stages; where these are there, it is left out

    def seconds(self, cores: int) -> Amount:
        """Return how long it takes on a machine with so many cores.

        Readers work while another unit is computed, so that the slower of the two counts. Where they share cores, what
        readers compute is taken away from the other. Nothing overlaps with the first unit's reading.
        """
        parts = zip(self.load, self.compute, strict=True)
        if not self.workers:
            return Amount(*(self.count * (load + compute) for load, compute in parts))
        readers = min(self.workers, cores)
        values = []
        for load, compute in parts:
            beside = compute + load / cores if self.shared else compute
            values.append(self.count * max(load / readers, beside) + (load if self.count else 0.0))
        return Amount(*values)


class Costs(Frozen):
    """What a stage takes: time, the most memory at once, and what it leaves on the disk."""

    process: float = 0.0  # s, what a process of its own takes for its imports and its end; none where it is forked
    start: Amount = NOTHING  # s, from there to the first unit
    phases: tuple[Phase, ...] = ()
    memory_mib: dict[str, float] = {}  # "process", without the processes that read; "gpu" where there is one
    disk_bytes: int = 0  # in its folder
    # What it adds to the features that stages share: name -> bytes. Equal names are equal features.
    features: dict[str, int] = {}
    notes: tuple[str, ...] = ()

    def seconds(self, cores: int, there: Collection[str] = (), processes: int = 1, *, forked: bool = False) -> Amount:
        """Return how long the stage takes on a machine with so many cores.

        Args:
            cores: that its process may use.
            there: names of features that an earlier stage leaves.
            processes: that share its units, each on a device of its own; what they tell each other is not counted, for
                which the interval is wider.
            forked: whether its process is a fork of one that has the imports.
        """
        phases = [phase for phase in self.phases if phase.makes not in there or not phase.makes]
        repeated = total(phase.seconds(cores) for phase in phases).times(1 / processes)
        if processes > 1:
            repeated = repeated.widened(SEVERAL)
        process = NOTHING if forked else Amount.of([self.process])
        return total([process, self.start, repeated]).widened()


def extrapolated(sizes: Sequence[int], values: Sequence[float], size: int) -> float:
    """Return the value at `size` on the straight line through the two largest sizes, and no less than the last value.

    What grows with a batch, as memory does, has a part that does not. One size alone gives its own value.
    """
    if len(sizes) < 2 or size == sizes[-1]:
        return values[-1]
    slope = (values[-1] - values[-2]) / (sizes[-1] - sizes[-2])
    return values[-1] + max(0.0, slope) * (size - sizes[-1])


def halves(batch: int, least: int = 8) -> list[int]:
    """Return batch, batch / 2, batch / 4 and so on down to `least`, as far as these are whole, the smallest first."""
    sizes = [batch]
    while sizes[-1] % 2 == 0 and sizes[-1] // 2 >= least:
        sizes.append(sizes[-1] // 2)
    return sizes[::-1]
