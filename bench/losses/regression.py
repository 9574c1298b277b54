"""BYOL's regression of a normalised target by a normalised prediction.

Source: Grill et al., "Bootstrap Your Own Latent" (NeurIPS 2020), eq. 2; values agree with the reference implementation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.float32 import at_least_float32


@at_least_float32
def regression_rows(p: Tensor, z: Tensor) -> Tensor:
    """Return ‖n(p) − n(sg z)‖² = 2 − 2·cos(p, z) of each row, n(x) = x/‖x‖: p …×D, z …×D -> …; each in [0, 4].

    No gradient reaches z. Raises ValueError when the shapes differ.
    """
    if p.shape != z.shape:
        raise ValueError(f"predictions {tuple(p.shape)} and targets {tuple(z.shape)} differ in shape")
    cosine = (F.normalize(p, dim=-1) * F.normalize(z.detach(), dim=-1)).sum(-1)
    return 2.0 - 2.0 * cosine


def regression(p: Tensor, z: Tensor) -> Tensor:
    """Return the loss of one direction, the mean over rows of 2 − 2·cos(p, sg z): p N×D, z N×D -> scalar in [0, 4]."""
    return regression_rows(p, z).mean()


def symmetric_regression(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Return BYOL's loss, the sum (not the mean) of both directions: 4 − 2·cos(p1, z2) − 2·cos(p2, z1), in [0, 8].

    p1, p2 are predictions from view 1 and 2, z1, z2 the target projections of view 1 and 2, all N×D.
    """
    return regression(p1, z2) + regression(p2, z1)


def multi_crop_regression(p1: Tensor, p2: Tensor, crops: Sequence[Tensor], z1: Tensor, z2: Tensor) -> Tensor:
    """Return BYOL's loss with small crops: twice the mean over (prediction, target) pairs of 2 − 2·cos, in [0, 8].

    Pairs are p1 with z2 and p2 with z1 of the full views, and each crop with both targets. Twice, because
    without crops this is the sum of both directions: the loss keeps its scale, however many crops there are.

    Args:
        p1, p2: predictions from view 1 and 2, N×D.
        crops: predictions from each small crop, N×D each.
        z1, z2: targets of view 1 and 2, N×D; no gradient reaches them.
    """
    if not crops:
        return symmetric_regression(p1, p2, z1, z2)
    pairs = [regression(p1, z2), regression(p2, z1), *(regression(p, z) for p in crops for z in (z1, z2))]
    return 2.0 * torch.stack(pairs).mean()
