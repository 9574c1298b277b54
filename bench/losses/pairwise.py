"""Losses of distances between pairs and in triplets of embeddings.

Source: Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping" (CVPR 2006), eq. 4;
Schroff et al., "FaceNet" (CVPR 2015), eq. 2 and section 3.2; of given triplets Wang et al., "DSM" (AAAI 2021).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.losses.precision import exact


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Return ‖x_i − y_j‖₂: n×D, N×D -> n×N; from differences, so that small ones are exact; gradient 0 at 0."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _own(x: Tensor, y: Tensor, first: int) -> Tensor:
    """Whether y_j is the other view of x_i, n×N."""
    return torch.arange(len(y), device=x.device) == first + torch.arange(len(x), device=x.device)[:, None]


@exact
def similar(x: Tensor, y: Tensor) -> Tensor:
    """Return ½·D² of similar pairs, a mean over rows: n×D, n×D -> scalar."""
    return 0.5 * (x - y).square().sum(1).mean()


@exact
def dissimilar(x: Tensor, y: Tensor, margin: float, first: int = 0) -> Tensor:
    """Return ½·max(0, m − D)² of dissimilar pairs, a mean over all (i, j) of different images: n×D, N×D -> scalar.

    Args:
        x: n×D, this rank's rows.
        y: N×D, all ranks' rows of the other view.
        margin: m, beyond which a pair has no part in the loss.
        first: the row of y that belongs to the first row of x.
    """
    short = (margin - distances(x, y)).clamp(min=0.0).masked_fill(_own(x, y, first), 0.0)
    return 0.5 * short.square().sum() / (len(x) * (len(y) - 1))


@exact
def triplet(
    x: Tensor, y: Tensor, margin: float, squared: bool = True, mining: str = "semi_hard", first: int = 0
) -> Tensor:
    """Return the mean of max(0, d(x_i, y_i) − d(x_i, y_j) + α) over triplets, j another image.

    Args:
        x: anchors n×D, this rank's.
        y: N×D, all ranks' rows of the other view.
        margin: α.
        squared: whether d is the squared distance (FaceNet's), or the distance itself.
        mining: `semi_hard`, for each anchor one negative, the nearest that is farther than the positive, or where
            there is none the farthest; or `all` of them.
        first: the row of y that belongs to the first row of x.
    """
    d = distances(x, y)
    d = d.square() if squared else d
    own = _own(x, y, first)
    positive = d.diagonal(first)[: len(x)]  # n
    if mining == "all":
        hinge = (positive[:, None] - d + margin).clamp(min=0.0).masked_fill(own, 0.0)
        return hinge.sum() / (len(x) * (len(y) - 1))
    with torch.no_grad():
        farther = (d > positive[:, None]) & ~own
        nearest = d.masked_fill(~farther, math.inf).argmin(1)
        farthest = d.masked_fill(own, -math.inf).argmax(1)
        chosen = torch.where(farther.any(1), nearest, farthest)
    negative = d.gather(1, chosen[:, None]).squeeze(1)
    return (positive - negative + margin).clamp(min=0.0).mean()


@exact
def given_triplets(x: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Return the mean over rows of max(0, ‖x − x⁺‖ − ‖x − x⁻‖ + α): N×D each -> scalar; α where x⁻ is as near as x⁺."""
    near, far = (torch.linalg.vector_norm(x - other, dim=1) for other in (positive, negative))  # N
    return (near - far + margin).clamp(min=0.0).mean()
