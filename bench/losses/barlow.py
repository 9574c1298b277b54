"""Barlow Twins: the cross-correlation of two views' embeddings, pulled to the identity.

Source: Zbontar et al., "Barlow Twins" (ICML 2021), eq. 1 and 2, algorithm 1; values agree with lightly's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.losses.precision import exact


@exact
def cross_correlation(z1: Tensor, z2: Tensor, eps: float = 1e-5) -> Tensor:
    """Return C_ij, the correlation over images of dimension i of one view and j of the other: N×D, N×D -> D×D.

    Each dimension is centred and divided by √(its biased variance + ε), as a batch norm without affine does. z1 and z2
    must hold all ranks' rows: a mean of each rank's correlations is not that of the batch. Raises ValueError when the
    shapes differ, and for fewer than two rows.
    """
    if z1.shape != z2.shape or z1.dim() != 2 or len(z1) < 2:
        raise ValueError(f"a cross-correlation needs two N×D with N ≥ 2, got {tuple(z1.shape)} and {tuple(z2.shape)}")
    a, b = ((z - z.mean(dim=0)) * torch.rsqrt(z.var(dim=0, correction=0) + eps) for z in (z1, z2))  # N×D
    return a.T @ b / len(z1)


@exact
def to_identity(c: Tensor) -> Tensor:
    """Return Σ_i (1 − C_ii)² and Σ_{i≠j} C_ij² of D×D: what is not invariant, and what is redundant. Of shape 2."""
    own = torch.eye(len(c), dtype=torch.bool, device=c.device)
    return torch.stack([(1.0 - c.diagonal()).square().sum(), c.square().masked_fill(own, 0.0).sum()])


def view_terms(z1: Tensor, z2: Tensor, crops: Sequence[Tensor]) -> Tensor:
    """Return both parts of `to_identity` (shape 2) for two full views' embeddings and C small crops', N×D each.

    (terms + Σ_c terms_c) / (1 + C), terms_c the mean over the crop's two pairs, with either full view: the mean over
    all ordered pairs of a full view and another view, of which no pair has two crops. Each pair costs a matrix D×D. All
    ranks' rows.
    """
    terms = to_identity(cross_correlation(z1, z2))
    if not crops:
        return terms
    small = torch.stack([to_identity(cross_correlation(c, z)) for c in crops for z in (z1, z2)]).mean(0)
    return (terms + len(crops) * small) / (1 + len(crops))
