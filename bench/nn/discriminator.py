"""What adversarial objectives share: a convolutional discriminator, and how others learn from it.

Source: Radford et al., "DCGAN" (ICLR 2016).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call

from bench.nn.decoder import doublings


def discriminator_tower(size: int, width: int) -> tuple[nn.Sequential, int]:
    """Return a network N×3×size×size -> N×C×4×4, and C: strided 4×4 convolutions, no batch norm after the first.

    Raises BadInput unless size is 4 times a power of two.
    """
    layers: list[nn.Module] = []
    before, after = 3, width
    for number in range(doublings(4, size)):
        layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=number == 0))
        layers += [nn.BatchNorm2d(after)] if number else []
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        before, after = after, 2 * after
    return nn.Sequential(*layers), before


def frozen_call(network: nn.Module, *inputs: Tensor) -> Tensor:
    """Return network(*inputs) in its present mode; no gradient reaches its weights, and its buffers do not move.

    What is minimised against a discriminator goes through this. The discriminator's loss is taken by a plain call on
    detached inputs, and one backward pass through the sum of both gives each side the gradient of its loss alone.
    """
    state = {name: parameter.detach() for name, parameter in network.named_parameters()}
    state |= {name: buffer.clone() for name, buffer in network.named_buffers()}  # running statistics move on copies
    return functional_call(network, state, inputs)
