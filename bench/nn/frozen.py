"""A network as a fixed function: gradients pass through to its inputs and stop at its weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call


def frozen_call(network: nn.Module, *inputs: Tensor) -> Tensor:
    """Return network(*inputs) in its present mode; no gradient reaches its weights, and no buffer of its own moves.

    What is minimised against a discriminator goes through this. The discriminator's own loss is taken by a plain call
    on detached inputs, and one backward pass through the sum of both gives each side exactly its own gradient.
    """
    state = {name: parameter.detach() for name, parameter in network.named_parameters()}
    state |= {name: buffer.clone() for name, buffer in network.named_buffers()}  # running statistics move on copies
    return functional_call(network, state, inputs)
