"""Which image is seen when: a permutation an epoch, from (seed, epoch), entered at any step at once.

This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.errors import BadInput
from bench.randomness import generator


def steps_per_epoch(length: int, batch_size: int) -> int:
    """Return how many whole batches an epoch has; BadInput when it has none.

    Args:
        length: images in the data set.
        batch_size: images in a step, over all ranks.
    """
    if length < batch_size:
        raise BadInput(
            f"batch_size {batch_size} is larger than the data set of {length} images; lower batch_size to {length} "
            "or less."
        )
    return length // batch_size


class DrawSampler:
    """One rank's share of each step's batch, as [(index of an image, draw number), …], without an end.

    The batch of step s (all ranks') holds the draws s·B … s·B + B − 1, of which rank r of w takes r, r + w, …. So what
    is drawn, and with it every random choice, does not depend on the number of ranks. The rest of an epoch that fills
    no batch is left out; with `drop_last=False` it is a smaller batch (for some ranks it may be empty).

    Args:
        length: images in the data set.
        batch_size_per_rank: B / w.
        seed: decides the permutations, together with the epoch.
        start_step: the first step to yield, counted over all epochs.
        rank: of this process.
        world: number of processes.
        drop_last: whether an epoch has whole batches only.

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
        drop_last: bool = True,
    ) -> None:
        self.length, self.seed, self.start_step, self.rank, self.world = length, seed, start_step, rank, world
        self.batch_size = batch_size_per_rank * world
        self.steps = steps_per_epoch(length, self.batch_size) if drop_last else -(-length // self.batch_size)
        self.drawn = self.steps * self.batch_size if drop_last else length  # in an epoch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, within = divmod(self.start_step, self.steps)
        while True:
            order = generator(self.seed, "epoch", epoch).permutation(self.length)
            for step in range(within, self.steps):
                end = min((step + 1) * self.batch_size, self.drawn)
                positions = range(step * self.batch_size + self.rank, end, self.world)
                yield [(int(order[position]), epoch * self.drawn + position) for position in positions]
            epoch, within = epoch + 1, 0
