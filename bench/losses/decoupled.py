"""Decoupled contrastive losses: InfoNCE without the positive in the denominator.

InfoNCE's gradient has the factor q = 1 − P⁺ = Σ e^{s⁻/τ} / (e^{s⁺/τ} + Σ e^{s⁻/τ}), which goes to 0 for easy positives
and few negatives. Without the positive in the sum the factor is gone. Values can be negative.

Source: Yeh et al., "Decoupled Contrastive Learning" (ECCV 2022). Values and gradients over `two_view_pairs` agree with
lightly's DCLLoss and DCLWLoss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.losses.pairs import Pairs, paired_cosines


def decoupled(found: Pairs, temperature: float, weights: Tensor | None = None) -> Tensor:
    """Return the mean over n anchors of −w·s⁺/τ + log Σ e^{s⁻/τ}, a scalar; w is n, or 1 for all."""
    positive = found.positive if weights is None else weights * found.positive
    return (torch.logsumexp(found.logits(temperature), dim=1) - positive / temperature).mean()


@torch.no_grad()
def mises_fisher_weights(x: Tensor, y: Tensor, sigma: float = 0.5) -> Tensor:
    """Return w_i = 2 − e^{s_i/σ} / mean_j e^{s_j/σ} with s_i = cos(x_i, y_i): N×D, N×D, all ranks' rows -> N.

    Their mean is 1; those of hard positives are larger. They take no gradient, as in lightly; a widely read
    implementation (raminnakhli) lets it through: equal values, other gradients.
    """
    return 2.0 - len(x) * torch.softmax(paired_cosines(x, y) / sigma, dim=0)
