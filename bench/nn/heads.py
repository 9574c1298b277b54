"""Projection and prediction heads."""

from __future__ import annotations

from torch import Tensor, nn


def mlp(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """Return BYOL's head, N×in_dim -> N×out_dim: linear, batch norm, ReLU, linear without bias.

    Source: Grill et al. 2020, section 3.3, and the reference implementation (bias in the first layer only).
    """
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim),
        nn.BatchNorm1d(hidden_dim),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_dim, out_dim, bias=False),
    )


def per_position(head: nn.Module, maps: Tensor) -> Tensor:
    """Apply a head for vectors to every position of maps: N×C×h×w -> N×h×w×D.

    The same as 1×1 convolutions with batch norm over all images and positions.
    """
    n, c, h, w = maps.shape
    vectors = maps.permute(0, 2, 3, 1).reshape(n * h * w, c)
    return head(vectors).view(n, h, w, -1)
