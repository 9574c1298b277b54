"""InfoNCE and its closest relatives: the right one among many candidates, by a softmax over similarities.

Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding" (2018), eq. 4; in the form
NT-Xent Chen et al., "SimCLR" (ICML 2020), eq. 1; with a queue He et al., "MoCo" (CVPR 2020), eq. 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.pairs import EVERY, softmax_loss, two_view_pairs
from bench.losses.precision import exact


@exact
def info_nce(q: Tensor, k: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Return the mean over rows of −log softmax of the positive: n(q)·n(k)/τ against n(q)·n(negatives)/τ.

    Args:
        q: queries n×D.
        k: positive keys n×D, row by row; gradients reach them unless the caller detaches them.
        negatives: K×D, the same for all rows.
        temperature: τ.

    Its value before anything is learnt is about ln(1 + K).
    """
    q, k, negatives = F.normalize(q, dim=1), F.normalize(k, dim=1), F.normalize(negatives, dim=1)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ negatives.T], dim=1) / temperature  # n×(1+K)
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.int64, device=q.device))


@exact
def cross_view_nce(x: Tensor, y: Tensor, temperature: float, first: int = 0) -> Tensor:
    """Return the mean over rows of −log softmax of the own image among all of the other view: n×D, N×D -> scalar.

    Args:
        x: n×D, this rank's rows of one view.
        y: N×D, all ranks' rows of the other view.
        temperature: τ.
        first: the row of y that belongs to the first row of x.

    One direction, negatives of the other view only (N − 1 of them).
    """
    logits = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T / temperature  # n×N
    return F.cross_entropy(logits, first + torch.arange(len(x), device=x.device))


def nt_xent(z1: Tensor, z2: Tensor, temperature: float, own: slice = EVERY) -> Tensor:
    """Return SimCLR's loss as a mean over all 2N rows: of each −log softmax of its other view among 2N − 1 others.

    Args:
        z1, z2: both views, N×D each; all ranks' rows.
        temperature: τ.
        own: the rows of this rank, which are its anchors.

    The reference implementation adds the two views' means up: it is twice this.
    """
    return softmax_loss(two_view_pairs(z1, z2, own), temperature)
