"""DetCon's contrast between regions: the same region of the other view among all regions of both views of all images.

Source: Hénaff et al., "Efficient Visual Pretraining with Contrastive Detection" (ICCV 2021), eq. 1 and 2, in the form
of the authors' code (deepmind/detcon, losses), which treats repeated regions.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


@exact
def detcon(
    p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor, ids1: Tensor, ids2: Tensor, temperature: float, first: int = 0
) -> Tensor:
    """Return the loss of both directions, their sum; each is a mean over the n·M regions of one view.

    A region r of an image is held against all regions of all images in the other view (z₂) and in its own (z₁), but for
    those of its own image and view that have its number. Its positives are the regions of its own image in the other
    view with its number; with several, the mean of their −log softmax counts. A region that has none adds 0; one that
    was sampled c times in its view counts 1/c each time.

    Args:
        p1, p2: predictions from the regions of each view, n×M×D, of this rank.
        z1, z2: targets N×M×D, of all ranks; gradients reach them unless the caller detaches them.
        ids1, ids2: numbers of the regions, n×M, of this rank; they mean the same in both views of an image.
        temperature: τ.
        first: the image of z that belongs to the first of p.

    Raises ValueError for shapes that do not go together.
    """
    n, m = ids1.shape
    fits = p1.shape == p2.shape and z1.shape == z2.shape and p1.shape[1:] == z1.shape[1:] and ids2.shape == (n, m)
    if not fits or p1.shape[:2] != (n, m) or not 0 <= first <= len(z1) - n:
        shapes = [tuple(tensor.shape) for tensor in (p1, p2, z1, z2, ids1, ids2)]
        raise ValueError(f"detcon wants n×M×D twice, N×M×D twice and n×M twice, with {first} + n ≤ N, got {shapes}")
    p1, p2, z1, z2 = (F.normalize(x, dim=2) for x in (p1, p2, z1, z2))
    return _direction(p1, z2, z1, ids1, ids2, temperature, first) + _direction(
        p2, z1, z2, ids2, ids1, temperature, first
    )


@exact
def detcon_crop(
    p: Tensor,
    z1: Tensor,
    z2: Tensor,
    ids: Tensor,
    ids1: Tensor,
    ids2: Tensor,
    temperature: float,
    first: int = 0,
) -> Tensor:
    """Return the loss of a small crop's regions: with view 1 as `detcon`'s other view, plus with view 2.

    The view that has no positive then is candidate as the own view is in `detcon`: without the regions of the crop's
    image that have the anchor's number. No region of a crop is a candidate.

    Args:
        p: predictions from the crop's regions, n×M×D, of this rank.
        z1, z2, ids1, ids2, temperature, first: as in `detcon`.
        ids: numbers of the crop's regions, n×M, of this rank.
    """
    p, z1, z2 = (F.normalize(x, dim=2) for x in (p, z1, z2))
    return _direction(p, z1, z2, ids, ids1, temperature, first, ids2) + _direction(
        p, z2, z1, ids, ids2, temperature, first, ids1
    )


def _direction(
    p: Tensor,
    other: Tensor,
    own: Tensor,
    ids: Tensor,
    ids_other: Tensor,
    temperature: float,
    first: int,
    ids_own: Tensor | None = None,
) -> Tensor:
    """One direction: regions of one view, the targets of the other view and of the same, or of one numbered ids_own."""
    n = len(ids)
    across = torch.einsum("nmd,ukd->nmuk", p, other) / temperature  # n×M×N×M
    within = torch.einsum("nmd,ukd->nmuk", p, own) / temperature  # n×M×N×M
    image = torch.arange(n, device=p.device)
    same = ids[:, :, None] == ids[:, None, :]  # n×M×M, in the own view
    itself = torch.zeros_like(within, dtype=torch.bool)
    itself[image, :, first + image] = same if ids_own is None else ids[:, :, None] == ids_own[:, None, :]
    candidates = torch.cat([across.flatten(2), within.masked_fill(itself, -math.inf).flatten(2)], dim=2)
    positive = (ids[:, :, None] == ids_other[:, None, :]).to(across.dtype)  # n×M×M
    count = positive.sum(2)  # n×M
    attraction = (positive * across[image, :, first + image]).sum(2) / count.clamp(min=1.0)
    weight = (count > 0).to(across.dtype) / same.sum(2)
    return (weight * (candidates.logsumexp(2) - attraction)).mean()
