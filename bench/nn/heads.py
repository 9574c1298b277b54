"""Projection and prediction heads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from bench.errors import BadInput
from bench.nn.encoder import Encoder
from bench.nn.seeding import seeded

Projector = Literal["mlp", "linear", "diagonal", "low_rank", "none"]


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
    last_shift: bool = True,
    bias: bool = True,
) -> nn.Sequential:
    """Return linear layers between `dims`, a ReLU after each but the last.

    Args:
        dims: in, hidden …, out.
        batch_norm: whether a batch norm follows each layer but the last; such layers have no bias.
        last_norm: whether one follows the last, too, which then has no bias.
        last_affine: whether that norm has a scale and a shift.
        last_shift: False: its shift stays 0, a parameter without gradient.
        bias: of layers that no norm follows.
    """
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(dims), start=1):
        last = number == len(dims) - 1
        norm = last_norm if last else batch_norm
        layers.append(nn.Linear(before, after, bias=bias and not norm))
        if norm:
            layers.append(nn.BatchNorm1d(after, affine=last_affine if last else True))
            if last and last_affine and not last_shift:
                layers[-1].bias.requires_grad_(False)
        if not last:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class Diagonal(nn.Module):
    """One trainable weight for each dimension, 1 at the start: N×D -> N×D."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return x·diag(w)."""
        return x * self.weight


class FixedLowRank(nn.Module):
    """A fixed linear map onto r random orthonormal directions: N×D -> N×r; nothing in it is trained.

    Cosines are those after a D×D map of rank r with singular values of 1: a rotation of the r dimensions changes none.
    """

    weight: Tensor

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.linalg.qr(torch.randn(dim, rank))[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return x·W, W D×r with orthonormal columns."""
        return x @ self.weight


class Subvector(nn.Module):
    """The first dimensions of a vector: N×D -> N×d."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Return x[:, :d]."""
        return x[:, : self.dim]


def simclr_projector(
    encoder: Encoder,
    kind: Projector,
    *,
    layers: int,
    hidden_dim: int,
    projection_dim: int,
    rank: int,
    last_shift: bool = False,
) -> nn.Module:
    """Return the projector between an encoder's features and a contrastive loss, N×F -> N×D, from the encoder's seed.

    Args:
        encoder: whose features it takes.
        kind: `mlp` is SimCLR's head: `layers` linear layers with a batch norm after each, a ReLU after each but the
            last, whose norm has no shift. `linear` is one matrix without bias; `diagonal` one weight a dimension
            (D = F); `low_rank` a fixed map of that rank; `none` the features themselves. These four are the projectors
            of Jing et al., "Understanding Dimensional Collapse" (ICLR 2022).
        layers, hidden_dim: of `mlp`.
        projection_dim: D of `mlp` and `linear`.
        rank: of `low_rank`.
        last_shift: whether the last norm of `mlp` has a shift, as DirectCLR's code has it.

    Raises BadInput for a rank that the features do not have.
    """
    features = encoder.feature_dim
    if kind == "low_rank" and not 1 <= rank <= features:
        raise BadInput(f"objective.projector_rank is {rank}; set it within 1 and the {features} features.")
    with seeded(encoder.seed, "heads"):
        if kind == "mlp":
            dims = [features, *[hidden_dim] * (layers - 1), projection_dim]
            return projection_mlp(dims, last_norm=True, last_shift=last_shift)
        if kind == "linear":
            return nn.Linear(features, projection_dim, bias=False)
        if kind == "diagonal":
            return Diagonal(features)
        return FixedLowRank(features, rank) if kind == "low_rank" else nn.Identity()
