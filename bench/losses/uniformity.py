"""Alignment and uniformity on the unit sphere.

Source: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
Hypersphere" (ICML 2020), with their α = 2, t = 2; values agree with the authors' code on normalised features.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.float32 import at_least_float32


@at_least_float32
def alignment(x: Tensor, y: Tensor, alpha: float = 2.0) -> Tensor:
    """Return the mean of ‖n(x) − n(y)‖^α over rows: N×D, N×D -> scalar in [0, 2^α]. Gradients reach both."""
    if x.shape != y.shape:
        raise ValueError(f"the two views {tuple(x.shape)} and {tuple(y.shape)} differ in shape")
    squared = (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1)
    # A root has no gradient at 0, where rows coincide: there it is taken to be 0.
    return squared.mean() if alpha == 2.0 else squared.clamp(min=1e-12).pow(alpha / 2).mean()


@at_least_float32
def uniformity(x: Tensor, t: float = 2.0) -> Tensor:
    """Return log mean exp(−t·‖n(x_i) − n(x_j)‖²) over distinct pairs i ≠ j: N×D -> scalar in [−4t, 0].

    It is the log of a mean over all pairs of the batch, so that x must hold all ranks' rows. Raises ValueError for
    fewer than two rows.
    """
    n = len(x)
    if n < 2:
        raise ValueError("uniformity needs at least two rows: it is over pairs of different ones")
    unit = F.normalize(x, dim=1)
    exponents = 2.0 * t * (unit @ unit.T - 1.0)
    itself = torch.eye(n, dtype=torch.bool, device=x.device)
    return torch.logsumexp(exponents.masked_fill(itself, -math.inf).flatten(), dim=0) - math.log(n * (n - 1))


def align_uniform(
    x: Tensor, y: Tensor, t: float = 2.0, align_weight: float = 1.0, uniform_weight: float = 1.0
) -> Tensor:
    """Return alignment plus the mean uniformity of both views, weighted; x, y are all ranks' rows, N×D each."""
    return align_weight * alignment(x, y) + uniform_weight * 0.5 * (uniformity(x, t) + uniformity(y, t))
