"""Which image is seen when: a permutation an epoch, from (seed, epoch), entered at any step at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from bench.errors import BadInput
from bench.randomness import generator


def steps_per_epoch(length: int, batch_size: int) -> int:
    """Return how many whole batches (over all ranks) an epoch of `length` images has; BadInput when it has none."""
    if length < batch_size:
        raise BadInput(
            f"batch_size {batch_size} is larger than the data set of {length} images; lower batch_size to {length} "
            "or less."
        )
    return length // batch_size


def chosen(length: int, subset: int | None, seed: int) -> np.ndarray:
    """Return positions of `subset` of so many images, drawn once by the seed, ascending; all, if there are no more."""
    if subset is None or subset >= length:
        return np.arange(length)
    return np.sort(generator(seed, "subset").permutation(length)[:subset])


@dataclass(frozen=True)
class Share:
    """One rank's share of a step's batch, n images."""

    step: int  # counted over all epochs
    images: np.ndarray  # n int64: their indices
    draws: np.ndarray  # n int64: draw numbers
    places: np.ndarray  # n int64: where they stand in the batch of all ranks


class DrawSampler:
    """One rank's share of each step's batch, as [(index of an image, draw number), …], without an end.

    The batch of step s (all ranks') holds the draws s·B … s·B + B − 1, of which rank r of w takes r, r + w, …. So what
    is drawn, and with it every random choice, does not depend on the number of ranks. The rest of an epoch that fills
    no batch is left out.

    Args:
        length: images in the data set.
        batch_size_per_rank: B / w.
        seed: decides the permutations, together with the epoch.
        start_step: the first step to yield, counted over all epochs.

    Raises BadInput when the data set holds no whole batch.
    """

    def __init__(
        self,
        length: int,
        batch_size_per_rank: int,
        seed: int,
        start_step: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.length, self.seed, self.start_step, self.rank, self.world = length, seed, start_step, rank, world
        self.batch_size = batch_size_per_rank * world
        self.steps = steps_per_epoch(length, self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for share in self.shares():
            yield list(zip(share.images.tolist(), share.draws.tolist(), strict=True))

    def shares(self) -> Iterator[Share]:
        """Yield the same in arrays, without an object for each image."""
        places = np.arange(self.rank, self.batch_size, self.world)
        epoch, within = divmod(self.start_step, self.steps)
        while True:
            order = generator(self.seed, "epoch", epoch).permutation(self.length)
            for number in range(within, self.steps):
                step, images = epoch * self.steps + number, order[number * self.batch_size + places]
                yield Share(step, images, draws=step * self.batch_size + places, places=places)
            epoch, within = epoch + 1, 0


class Turns(DrawSampler):
    """Whole batches in turns: of the steps from `start_step` on, every `turns`-th, beginning with the `turn`-th.

    Ranks that compute whole batches compute what one process does, to the bit.
    """

    def __init__(self, length: int, batch_size: int, seed: int, start_step: int, turn: int, turns: int) -> None:
        super().__init__(length, batch_size, seed, start_step=start_step)
        self.turn, self.turns = turn, turns

    def shares(self) -> Iterator[Share]:
        """Yield the batches of this rank's turns in arrays."""
        yield from islice(super().shares(), self.turn, None, self.turns)
