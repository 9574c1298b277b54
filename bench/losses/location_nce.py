"""One vector against all locations of all images: AMDIM's InfoNCE.

Source: Bachman, Hjelm and Buchwalter, "Learning Representations by Maximizing Mutual Information Across Views" (NeurIPS
2019), section 3.4, and the reference implementation's costs.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


@exact
def location_scores(source: Tensor, target: Tensor) -> Tensor:
    """Return the scores r_srcᵀ·r_trg/√D: n×D, N×L×D -> n×N×L."""
    return torch.einsum("nd,mld->nml", source, target) / math.sqrt(source.shape[1])


@exact
def location_nce(scores: Tensor, clip: float, first: int = 0) -> Tensor:
    """Return the mean over images i and locations l of −log [e^{s_iil} / (e^{s_iil} + Σ_{j≠i,m} e^{s_ijm})].

    s = c·tanh(score/c). Other locations of the same image are neither positives of the term nor negatives.

    Args:
        scores: n×N×L, this rank's images against the locations of all ranks' images.
        clip: c.
        first: the image of the N that is the first of the n.
    """
    n = len(scores)
    s = clip * torch.tanh(scores / clip)
    own = torch.zeros(s.shape[:2], dtype=torch.bool, device=s.device)
    own[:, first : first + n].fill_diagonal_(True)
    positive = s[own]  # n×L
    negatives = s.masked_fill(own[..., None], -math.inf).flatten(1).logsumexp(1, keepdim=True)  # n×1
    return F.softplus(negatives - positive).mean()
