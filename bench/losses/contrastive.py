"""InfoNCE: pick the positive out of many candidates by a softmax over similarities.

Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding" (2018), eq. 4; with a queue
He et al., "MoCo" (CVPR 2020), eq. 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.float32 import at_least_float32


@at_least_float32
def first_column_nce(logits: Tensor) -> Tensor:
    """Return the mean over rows of −log softmax at column 0, the positive: n×C -> scalar."""
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


@at_least_float32
def diagonal_nce(logits: Tensor, first: int = 0) -> Tensor:
    """Return the mean over rows i of −log softmax at column first + i, the positive: n×C -> scalar."""
    return F.cross_entropy(logits, first + torch.arange(len(logits), device=logits.device))


@at_least_float32
def info_nce(q: Tensor, k: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Return the mean over rows of −log softmax of the positive: n(q)·n(k)/τ against n(q)·n(negatives)/τ.

    Args:
        q: queries n×D.
        k: positive keys n×D, row by row; gradients reach them unless the caller detaches them.
        negatives: K×D, the same for all rows.
        temperature: τ.

    Before anything is learnt it is about ln(1 + K).
    """
    q, k, negatives = F.normalize(q, dim=1), F.normalize(k, dim=1), F.normalize(negatives, dim=1)
    return first_column_nce(torch.cat([(q * k).sum(1, keepdim=True), q @ negatives.T], dim=1) / temperature)  # n×(1+K)


@at_least_float32
def cross_view_nce(x: Tensor, y: Tensor, temperature: float, first: int = 0) -> Tensor:
    """Return the mean over rows of −log softmax of the same image among all of the other view: n×D, N×D -> scalar.

    Args:
        x: n×D, this rank's rows of one view.
        y: N×D, all ranks' rows of the other view.
        temperature: τ.
        first: the row of y that belongs to the first row of x.

    One direction, with the N − 1 negatives of the other view only.
    """
    return diagonal_nce(F.normalize(x, dim=1) @ F.normalize(y, dim=1).T / temperature, first)  # of n×N
