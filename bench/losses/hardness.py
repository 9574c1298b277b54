"""Contrastive losses with another appetite for hard negatives than InfoNCE: none of it, or nothing but them.

InfoNCE weighs negatives by a softmax, the harder the more, at low τ the hardest alone. For τ → 0 it is
max(s⁻_max − s⁺, 0)/τ, a triplet loss without a margin; for large τ it is, up to a constant, M/((M + 1)·τ) times the
simple loss below, which weighs all M negatives alike.

Source: Wang and Liu, "Understanding the Behaviour of Contrastive Loss" (CVPR 2021).
"""

from __future__ import annotations

from torch import Tensor

from bench.losses.pairs import Pairs, softmax_loss


def simple(found: Pairs, negative_weight: float = 1.0, share: float = 1.0) -> Tensor:
    """Return L_simple, the mean over anchors of −s⁺ + λ·mean s⁻, a scalar in [−1 − λ, 1 + λ].

    Args:
        found: the pairs.
        negative_weight: λ, of the mean over negatives (the paper sums them: its λ is this one over their number).
        share: of the negatives, the hardest of each anchor; 1 for all.
    """
    return (negative_weight * found.keep_hardest(share).mean_negative() - found.positive).mean()


def hard(found: Pairs, temperature: float, share: float) -> Tensor:
    """Return L_hard, InfoNCE over the negatives s⁻ ≥ s_α alone, a scalar.

    Args:
        found: the pairs.
        temperature: τ.
        share: α in (0, 1]; s_α is the upper quantile α of the anchor's own negatives, of which at least one is kept.
            With 1 it is InfoNCE.
    """
    return softmax_loss(found.keep_hardest(share), temperature)
