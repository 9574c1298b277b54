"""Shuffled batch norm: keys are normalised among other images than their queries.

Source: He et al., "Momentum Contrast" (CVPR 2020), section 3.3, "Shuffling BN". If a query and its key are normalised
among the same images, the network can recognise the pair by these statistics, and the loss falls without a
representation. What groups images are normalised in is for the norms to say (`bench.nn.norm`): each process's images,
parts of them, or those of several.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.nn import draws
from bench.nn.collectives import gather, in_batch_order, rank, world


@torch.no_grad()
def shuffled(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return the network's output N×… of images N×…, each normalised in another group, no gradient.

    The images of all ranks are put in a random order, which is the same on any number of ranks, and each rank takes its
    share of it. The outputs are put back, so that row i is image i's. This is of use where there are several groups.
    """
    n, ranks = len(images), world()
    order = draws.shared_order(n * ranks, device=images.device)
    mine = slice(rank(), None, ranks)
    batch = in_batch_order(gather(images))  # all ranks' images
    outputs = in_batch_order(gather(network(batch[order[mine]])))  # all ranks', in that order
    return outputs[order.argsort()[mine]]
