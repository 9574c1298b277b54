"""VICReg's terms: invariance of views, and the variance and covariance that keep an embedding from collapsing.

Source: Bardes et al., "VICReg" (ICLR 2022), eq. 1 to 6; values agree with the authors' code and lightly's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.float32 import at_least_float32


@at_least_float32
def invariance(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared difference over rows and dimensions: …×D, …×D -> scalar. Gradients reach both."""
    return F.mse_loss(x, y)


@at_least_float32
def variance(z: Tensor, eps: float = 1e-4) -> Tensor:
    """Return mean_d max(0, 1 − √(var_d + ε)), var unbiased over rows: N×D (not normalised) -> scalar in [0, 1].

    z must hold all ranks' rows. Raises ValueError for fewer than two.
    """
    _check_rows(z)
    return F.relu(1.0 - torch.sqrt(z.var(dim=0) + eps)).mean()


@at_least_float32
def covariance(z: Tensor) -> Tensor:
    """Return the sum of the squared off-diagonal entries of the covariance, over D: N×D -> scalar ≥ 0.

    z must hold all ranks' rows. Raises ValueError for fewer than two.
    """
    _check_rows(z)
    n, d = z.shape
    centred = z - z.mean(dim=0)
    matrix = centred.T @ centred / (n - 1)
    off_diagonal = ~torch.eye(d, dtype=torch.bool, device=z.device)
    return matrix[off_diagonal].square().sum() / d


def view_terms(z: Sequence[Tensor]) -> Tensor:
    """Return invariance, variance and covariance (shape 3) of two full views' embeddings, then small crops', N×D each.

    Invariance is the mean over pairs of a full view and any other, variance and covariance are means over views. All
    ranks' rows.
    """
    pairs = [invariance(z[i], z[j]) for i, j in product((0, 1), range(len(z))) if i != j]
    variances, covariances = [variance(each) for each in z], [covariance(each) for each in z]
    return torch.stack([torch.stack(terms).mean() for terms in (pairs, variances, covariances)])


def _check_rows(z: Tensor) -> None:
    if z.dim() != 2 or len(z) < 2:
        raise ValueError(f"variance and covariance need embeddings N×D with N ≥ 2, got {tuple(z.shape)}")
