"""Distributions over candidates, and how one of them is predicted by another.

Source: Wang and Qi, "Contrastive Learning with Stronger Augmentations" (2021).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


@exact
def candidate_logits(q: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Return n(q)·[n(keys); n(queue)]/τ: queries n×D, keys N×D, queue K×D -> n×(N+K)."""
    candidates = torch.cat([F.normalize(keys, dim=1), F.normalize(queue, dim=1)])
    return F.normalize(q, dim=1) @ candidates.T / temperature


@exact
def own_candidate(logits: Tensor, first: int = 0) -> Tensor:
    """Return the mean over rows of −log softmax of the own candidate, first + i for row i: n×C -> scalar."""
    return F.cross_entropy(logits, first + torch.arange(len(logits), device=logits.device))


@exact
def distributional(weak: Tensor, strong: Tensor) -> Tensor:
    """Return the mean over rows of −Σ_k p_k·log q_k, p = softmax(sg weak), q = softmax(strong): n×C, n×C -> scalar.

    No gradient reaches the weak view. From log-softmax, so that a candidate out of reach costs much, not infinity.
    """
    return -(F.softmax(weak.detach(), dim=1) * F.log_softmax(strong, dim=1)).sum(1).mean()
