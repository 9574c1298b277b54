"""The two terms of VICReg that keep an embedding from collapsing.

Source: Bardes et al., "VICReg" (ICLR 2022), eq. 1 to 4; values agree with the authors' code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


@exact
def variance(z: Tensor, eps: float = 1e-4) -> Tensor:
    """Return mean_d max(0, 1 − √(var_d + ε)), var unbiased over rows: N×D (not normalised) -> scalar in [0, 1].

    z must hold all ranks' rows. Raises ValueError for fewer than two.
    """
    _check_rows(z)
    return F.relu(1.0 - torch.sqrt(z.var(dim=0) + eps)).mean()


@exact
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


def variance_covariance(x: Tensor, y: Tensor, covariance_weight: float = 0.04) -> Tensor:
    """Return ½·[var(x) + var(y)] + covariance_weight·[cov(x) + cov(y)] of two views, all ranks' rows N×D each.

    VICReg weighs invariance, variance and covariance 25 : 25 : 1. This is its sum over 25 without the invariance, so
    that the default has VICReg's proportions beside an invariance term of unit weight.
    """
    return 0.5 * (variance(x) + variance(y)) + covariance_weight * (covariance(x) + covariance(y))


def _check_rows(z: Tensor) -> None:
    if z.dim() != 2 or len(z) < 2:
        raise ValueError(f"variance and covariance need embeddings N×D with N ≥ 2, got {tuple(z.shape)}")
