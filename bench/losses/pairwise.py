"""Distances between embeddings, and the triplet loss.

Source: Schroff et al., "FaceNet" (CVPR 2015), eq. 2 and section 3.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.losses.float32 import at_least_float32


@at_least_float32
def distances(x: Tensor, y: Tensor) -> Tensor:
    """Return ‖x_i − y_j‖₂: …×n×D, …×N×D -> …×n×N; the gradient is 0 where the distance is.

    Taken from differences: by x² + y² − 2xy small distances would be lost in rounding.
    """
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def same_image(x: Tensor, y: Tensor, first: int) -> Tensor:
    """Return whether y_j is the other view of x_i, for n×… and N×… -> n×N; `first` is the row of y of x_0."""
    return torch.arange(len(y), device=x.device) == first + torch.arange(len(x), device=x.device)[:, None]


@at_least_float32
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
    same = same_image(x, y, first)
    positive = d.diagonal(first)[: len(x)]  # n
    if mining == "all":
        hinge = (positive[:, None] - d + margin).clamp(min=0.0).masked_fill(same, 0.0)
        return hinge.sum() / (len(x) * (len(y) - 1))
    with torch.no_grad():
        farther = (d > positive[:, None]) & ~same
        nearest = d.masked_fill(~farther, math.inf).argmin(1)
        farthest = d.masked_fill(same, -math.inf).argmax(1)
        chosen = torch.where(farther.any(1), nearest, farthest)
    negative = d.gather(1, chosen[:, None]).squeeze(1)
    return (positive - negative + margin).clamp(min=0.0).mean()
