"""Swapped prediction: codes of one view, an equal partition of the batch, are predicted from the others.

Source: Caron et al., "SwAV" (NeurIPS 2020), eq. 2 to 5; the equal partition by Sinkhorn and Knopp's iterations as in
Cuturi, "Sinkhorn Distances" (2013). Values agree with lightly's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


@exact
def prototype_scores(z: Tensor, prototypes: Tensor) -> Tensor:
    """Return the cosine of each embedding and the product with each prototype, n(z)·c: n×D, C×D -> n×C.

    The prototypes are taken as they are; SwAV's have unit length.
    """
    return F.normalize(z, dim=1) @ prototypes.T


@torch.no_grad()
@exact
def sinkhorn(scores: Tensor, epsilon: float, iterations: int = 3) -> Tensor:
    """Return the codes Q of images that share the prototypes equally: scores N×C -> N×C, rows sum to 1, no gradient.

    Q starts as exp(scores/ε). Each iteration gives every prototype the same total over the images, then every image
    the total 1. This is done on logarithms, so that nothing overflows or vanishes, however small ε is.

    Args:
        scores: of all ranks' images, or the partition is not of the whole batch.
        epsilon: ε, the smaller, the harder the codes.
        iterations: 0 gives a softmax of scores/ε, which is no equal partition.
    """
    log_q = scores / epsilon
    for _ in range(iterations):
        log_q = log_q - log_q.logsumexp(0, keepdim=True)
        log_q = log_q - log_q.logsumexp(1, keepdim=True)
    return log_q.softmax(1)


def swapped_prediction(scores: Sequence[Tensor], codes: Sequence[Tensor], temperature: float) -> Tensor:
    """Return the mean over views i with codes of the mean over other views v of −Σ_c q_i·log softmax(scores_v/τ).

    Args:
        scores: n×C of each view; those with codes come first.
        codes: n×C of the first views; no gradient reaches them.
        temperature: τ.

    Its value is ln C as long as all prototypes look alike.
    """
    rows: list[Tensor] = []
    for i, q in enumerate(codes):
        rows += [_cross_entropy(s, q, temperature) for v, s in enumerate(scores) if v != i]
    return torch.stack(rows).mean()  # every view with codes has equally many others


@exact
def _cross_entropy(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    return -(codes.detach() * F.log_softmax(scores / temperature, dim=1)).sum(1).mean()
