"""From a ResNet's last map to something for every fourth pixel."""

from __future__ import annotations

from torch import nn


def map_decoder(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """Return a decoder of C5 (stride 32) to stride 4: N×in_dim×h×w -> N×out_dim×8h×8w.

    A 1×1 convolution, three times ×2 (nearest) and a 3×3 convolution, batch norm and ReLU after each, then a 1×1
    convolution. It sees no earlier map, so that all it needs must be in C5.
    """
    layers: list[nn.Module] = [*_block(in_dim, hidden_dim, 1)]
    for _ in range(3):
        layers += [nn.Upsample(scale_factor=2), *_block(hidden_dim, hidden_dim, 3)]
    return nn.Sequential(*layers, nn.Conv2d(hidden_dim, out_dim, 1))


def _block(before: int, after: int, kernel: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)
