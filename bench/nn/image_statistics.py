"""Running statistics of whole, undamaged images, where a network learns from something else: patches, grey, noise.

A downstream task shows a frozen network plain images, and normalises its maps by the running statistics. Those of what
the loss was taken on would fit these images badly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def unmoved_statistics(module: nn.Module) -> Iterator[None]:
    """Inside the block, batch norms in train mode normalise by their batches, but their running statistics stay."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum


@contextmanager
def running_statistics_of(images: Tensor | None, network: nn.Module) -> Iterator[None]:
    """Inside the block the network works on whatever it learns from; its running statistics are those of `images`.

    They are shown to it after the block, in train mode and without gradient.

    Args:
        images: N×3×H×W; None leaves everything as it is: statistics are those of what is learnt from.
        network: its norms normalise by their batches, in the block as well.
    """
    if images is None or not network.training:
        yield
        return
    with unmoved_statistics(network):
        yield
    with torch.no_grad():
        network(images)
