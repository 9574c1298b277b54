"""Batch norm of keys over other images than those of the queries: shuffling, and statistics of parts of a batch.

Source: He et al., "Momentum Contrast" (CVPR 2020), section 3.3, "Shuffling BN"; the parts stand for the processes of a
larger machine (the authors' CIFAR notebook). A query and its key that are normalised among the same images tell each
other by these statistics, and the loss falls without a representation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.errors import BadInput
from bench.nn import draws
from bench.nn.collectives import gather, rank, world


def in_parts(network: Callable[[Tensor], Tensor], images: Tensor, parts: int) -> Tensor:
    """Return what a network makes of each part of the images N×…, one after another: N×D.

    Each part has its own batch statistics, and moves the running ones, as on a process of its own.
    """
    if parts == 1:
        return network(images)
    return torch.cat([network(part) for part in images.chunk(parts)])


@torch.no_grad()
def shuffled(network: Callable[[Tensor], Tensor], images: Tensor, parts: int = 1) -> Tensor:
    """Return what a network makes of images N×…, normalised among images from all ranks and parts, without gradient.

    The images of all ranks are put in a random order that the ranks share; each rank takes its share of it; what comes
    out is put back, so that row i is image i's: N×D. A single process with one part has nothing to shuffle.
    """
    n = len(images)
    # Each rank draws for its own images: gathered, the numbers are the same everywhere, and so is their order.
    order = gather(draws.uniform(n, like=images)).argsort(stable=True)  # all ranks' images, N·world
    if world() == 1 and parts == 1:
        return network(images)
    own = slice(rank() * n, (rank() + 1) * n)
    found = gather(in_parts(network, gather(images)[order[own]], parts))  # N·world × D, in that order
    return found[order.argsort()[own]]


def check_parts(batch_size: int, parts: int) -> None:
    """Refuse a batch (of all ranks) that falls into no equal parts of two images or more on each rank."""
    if parts < 1:
        raise BadInput(f"objective.bn_splits is {parts}; set it to 1 (the whole batch of a process) or more.")
    own = batch_size // world()
    if own % parts or (parts > 1 and own < 2 * parts):
        raise BadInput(
            f"objective.bn_splits is {parts}, but the {own} images of a process do not fall into so many equal parts "
            "of 2 or more; set it to 1, or change batch_size."
        )
