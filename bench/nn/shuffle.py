"""Shuffled batch norm: keys are normalised among other images than their queries.

Source: He et al., "Momentum Contrast" (CVPR 2020), section 3.3, "Shuffling BN"; the parts stand for the processes of a
larger machine (the authors' CIFAR notebook). If a query and its key are normalised among the same images, the network
can recognise the pair by these statistics, and the loss falls without a representation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.errors import BadInput
from bench.nn import draws
from bench.nn.collectives import gather, rank_rows, world


def in_parts(network: Callable[[Tensor], Tensor], images: Tensor, parts: int) -> Tensor:
    """Return the network's output N×D of images N×…, one part of the batch after another.

    Each part is normalised by itself, and moves the running statistics, as if a process had that part alone.
    """
    if parts == 1:
        return network(images)
    return torch.cat([network(part) for part in images.chunk(parts)])


@torch.no_grad()
def shuffled(network: Callable[[Tensor], Tensor], images: Tensor, parts: int = 1) -> Tensor:
    """Return the network's output N×D of images N×…, normalised among images from all ranks and parts, no gradient.

    The images of all ranks are put in a random order that the ranks share, and each rank takes its share of it. The
    outputs are put back, so that row i is image i's. A single process with one part has nothing to shuffle.
    """
    n = len(images)
    # Each rank draws for its images: gathered, the numbers are the same everywhere, and so is their order.
    order = gather(draws.uniform(n, like=images)).argsort(stable=True)  # all ranks' images, N·world
    if world() == 1 and parts == 1:
        return network(images)
    rows = rank_rows(n)
    outputs = gather(in_parts(network, gather(images)[order[rows]], parts))  # N·world × D, in that order
    return outputs[order.argsort()[rows]]


def check_parts(batch_size: int, parts: int) -> None:
    """Raise BadInput for a batch (of all ranks) without equal parts of two images or more on each rank."""
    per_process = batch_size // world()
    if per_process % parts or (parts > 1 and per_process < 2 * parts):
        raise BadInput(
            f"objective.bn_splits is {parts}, but the {per_process} images of a process do not fall into so many equal "
            "parts of 2 or more; set it to 1, or change batch_size."
        )
