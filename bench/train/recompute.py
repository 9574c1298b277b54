"""Activation checkpointing: only a residual block's input is kept, and the block is computed again for its gradient.

Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016). Gradients are those of the plain step to
the bit. Only the first computation moves the running statistics of batch norms, which would otherwise move twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint
from torchvision.models.resnet import BasicBlock, Bottleneck


def recompute_blocks(module: nn.Module) -> int:
    """Let each residual block below `module` be computed again in the backward pass; return how many there are.

    Parameters, buffers and the keys of the state dict stay. Blocks must draw no random numbers (a ResNet's do not).
    """
    blocks = [block for block in module.modules() if isinstance(block, BasicBlock | Bottleneck)]
    for block in blocks:
        block.forward = _recomputed(block, block.forward)
    return len(blocks)


def _recomputed(block: nn.Module, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), frozen_statistics(block)

    def run(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():  # a target network: nothing is kept anyway
            return forward(x)
        return checkpoint(forward, x, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)

    return run


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Inside the block, batch norms in train mode work as before, but move copies of their buffers.

    Copies, and not norms that keep no statistics: what is saved for the backward pass must be of the same number.
    """
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    before = [dict(norm._buffers) for norm in norms]
    for norm, buffers in zip(norms, before, strict=True):
        norm._buffers.update({name: None if b is None else b.clone() for name, b in buffers.items()})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, before, strict=True):
            norm._buffers.update(buffers)
