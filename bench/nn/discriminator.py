"""Convolutional discriminators of images, alone or together with a code.

Source: Radford et al., "DCGAN" (ICLR 2016), and Donahue et al., "BiGAN" (ICLR 2017), for the joint one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.nn.decoder import doublings


def _tower(size: int, width: int) -> tuple[nn.Sequential, int]:
    """Return N×3×size×size -> N×C×4×4 and C: strided 4×4 convolutions, no batch norm after the first."""
    layers: list[nn.Module] = []
    before, after = 3, width
    for number in range(doublings(4, size)):
        layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=number == 0))
        layers += [nn.BatchNorm2d(after)] if number else []
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        before, after = after, 2 * after
    return nn.Sequential(*layers), before


class Discriminator(nn.Module):
    """Logits N of images N×3×size×size: positive for real ones. `size` is 4 times a power of two, 8 or more."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.tower, channels = _tower(size, width)
        self.score = nn.Conv2d(channels, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return N logits."""
        return self.score(self.tower(x)).flatten()


class JointDiscriminator(nn.Module):
    """Logits N of pairs of images N×3×size×size and codes N×D: positive for a real image with its inferred code."""

    def __init__(self, size: int, width: int, code_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.tower, channels = _tower(size, width)
        self.code = nn.Sequential(nn.Linear(code_dim, hidden_dim), nn.LeakyReLU(0.2, inplace=True))
        self.score = nn.Sequential(
            nn.Linear(16 * channels + hidden_dim, hidden_dim), nn.LeakyReLU(0.2, inplace=True), nn.Linear(hidden_dim, 1)
        )

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return N logits."""
        return self.score(torch.cat([self.tower(x).flatten(1), self.code(z)], dim=1)).flatten()
