"""VICReg's terms over several views, and VICRegL's over matched positions.

Source: Bardes et al., "VICReg" (ICLR 2022), eq. 1 to 6; Bardes et al., "VICRegL" (NeurIPS 2022), eq. 1 to 5.
Values agree with lightly's. VICReg adds the covariance of both views, VICRegL takes their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact
from bench.losses.variance_covariance import covariance, variance


@exact
def invariance(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared difference over rows and dimensions: …×D, …×D -> scalar. Gradients reach both."""
    return F.mse_loss(x, y)


def view_terms(z: Sequence[Tensor]) -> Tensor:
    """Return invariance, variance and covariance (shape 3) of two full views' embeddings, then small crops', N×D each.

    Invariance is the mean over pairs of a full view and any other, variance and covariance are means over views. All
    ranks' rows.
    """
    pairs = [invariance(z[i], z[j]) for i, j in product((0, 1), range(len(z))) if i != j]
    variances, covariances = [variance(each) for each in z], [covariance(each) for each in z]
    return torch.stack([torch.stack(terms).mean() for terms in (pairs, variances, covariances)])


@exact
def matched_terms(x: Tensor, y: Tensor) -> Tensor:
    """Return invariance, variance and covariance of matched positions, all ranks' rows: N×M×D, N×M×D -> 3.

    The m-th matches of all images are one sample: variance and covariance are over images, and means over m and both
    sides.
    """
    sides = torch.stack([x, y])  # 2×N×M×D
    n, d = x.shape[0], x.shape[-1]
    spread = F.relu(1.0 - torch.sqrt(sides.var(dim=1) + 1e-4)).mean()
    centred = (sides - sides.mean(dim=1, keepdim=True)).transpose(1, 2)  # 2×M×N×D
    matrices = centred.transpose(2, 3) @ centred / (n - 1)  # 2×M×D×D
    own = torch.eye(d, dtype=torch.bool, device=x.device)
    redundancy = matrices.square().masked_fill(own, 0.0).sum((2, 3)).mean() / d
    return torch.stack([F.mse_loss(x, y), spread, redundancy])


@torch.no_grad()
def nearest(distance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return (positions, their nearest on the other side) of the `count` closest pairs, closest first.

    Args:
        distance: N×S×S′ between positions of two maps.
        count: M; all S where there are fewer.

    Returns:
        N×M each, int64. Each position of the first map has its nearest in the second, and the M with the smallest
        distance stay.
    """
    smallest, partner = distance.min(dim=2)  # N×S
    positions = smallest.topk(min(count, distance.shape[1]), dim=1, largest=False).indices  # N×M
    return positions, partner.gather(1, positions)


def at(maps: Tensor, positions: Tensor) -> Tensor:
    """Return the vectors at positions: N×S×D, N×M -> N×M×D."""
    return maps.gather(1, positions[:, :, None].expand(-1, -1, maps.shape[2]))


@torch.no_grad()
@exact
def distances(x: Tensor, y: Tensor) -> Tensor:
    """Return Euclidean distances N×S×S′ of vectors N×S×D and N×S′×D."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
