"""Projection and prediction heads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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


def projection_mlp(
    dims: Sequence[int],
    *,
    batch_norm: bool = True,
    last_norm: bool = False,
    last_affine: bool = True,
    bias: bool = True,
) -> nn.Sequential:
    """Return linear layers between `dims`, a ReLU after each but the last.

    Args:
        dims: in, hidden …, out.
        batch_norm: whether a batch norm follows each layer but the last; such layers have no bias.
        last_norm: whether one follows the last, too, which then has no bias.
        last_affine: whether that norm has a scale and a shift.
        bias: of layers that no norm follows.
    """
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(dims), start=1):
        last = number == len(dims) - 1
        norm = last_norm if last else batch_norm
        layers.append(nn.Linear(before, after, bias=bias and not norm))
        if norm:
            layers.append(nn.BatchNorm1d(after, affine=last_affine if last else True))
        if not last:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
