"""Contrastive losses as functions of cosines: of an anchor with its positive, and of the anchor with its negatives.

    softmax_loss   InfoNCE: −log e^{s⁺/τ} / (e^{s⁺/τ} + Σ e^{s⁻/τ})
    decoupled      the same without the positive in the denominator (Yeh et al. 2022)
    simple         −s⁺ + λ·mean s⁻, without a softmax: all negatives count alike (Wang and Liu 2021)
    hard           InfoNCE over the hardest negatives alone (Wang and Liu 2021)

InfoNCE weighs negatives by a softmax, the harder the more. For τ → 0 only the hardest counts: it is
max(s⁻_max − s⁺, 0)/τ, a triplet loss without a margin. For large τ it is, up to a constant, M/((M + 1)·τ) times the
simple loss, M the number of negatives. Its gradient has the factor 1 − P⁺ = Σ e^{s⁻/τ} / (e^{s⁺/τ} + Σ e^{s⁻/τ}), which
goes to 0 for easy positives and few negatives; the decoupled loss has no such factor, and can be negative.

On several ranks, a loss takes the embeddings of all ranks and `rows`, which of them are this rank's: each rank has the
anchors of its images and all candidates, n×N cosines instead of N×N, and the mean of the ranks' losses is the loss of
the batch.

Source: Yeh et al., "Decoupled Contrastive Learning" (ECCV 2022); Wang and Liu, "Understanding the Behaviour of
Contrastive Loss" (CVPR 2021). Values and gradients of `decoupled` agree with lightly's DCLLoss and DCLWLoss.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.float32 import at_least_float32

EVERY = slice(None)  # all rows: a single process, or the loss of the whole batch


class Pairs(NamedTuple):
    """Cosines s of n anchors.

    Args:
        positive: s⁺, n.
        candidates: n×K; the negatives s⁻ are those that are not excluded.
        excluded: n×K bool: what shows the anchor's image and is no negative; None: nothing does.
        negatives: how many negatives each anchor has, M.
    """

    positive: Tensor
    candidates: Tensor
    excluded: Tensor | None
    negatives: int

    def logits(self, temperature: float) -> Tensor:
        """Return s⁻/τ, n×K, −∞ where excluded."""
        logits = self.candidates / temperature
        return logits if self.excluded is None else logits.masked_fill(self.excluded, -math.inf)

    def keep_hardest(self, share: float) -> Pairs:
        """Return the pairs with only the hardest negatives of each anchor: max(1, ⌈share·M⌉), and their equals.

        The threshold is a quantile of the anchor's negatives; it takes no gradient.
        """
        kept = min(self.negatives, max(1, math.ceil(share * self.negatives)))
        if kept == self.negatives:
            return self
        threshold = self.logits(1.0).detach().topk(kept, dim=1).values[:, -1:]  # n×1
        easy = self.candidates < threshold
        return self._replace(excluded=easy if self.excluded is None else easy | self.excluded)

    def mean_negative(self) -> Tensor:
        """Return the mean of each anchor's negatives, n."""
        if self.excluded is None:
            return self.candidates.mean(1)
        total = self.candidates.masked_fill(self.excluded, 0.0).sum(1)
        return total / (~self.excluded).sum(1)


@at_least_float32
def cosines(x: Tensor, y: Tensor) -> Tensor:
    """Return the cosine of every row of x with every row of y: n×D, K×D -> n×K."""
    return F.normalize(x, dim=1) @ F.normalize(y, dim=1).T


@at_least_float32
def paired_cosines(x: Tensor, y: Tensor) -> Tensor:
    """Return the cosine of each row of x with the same row of y: n×D, n×D -> n."""
    return (F.normalize(x, dim=1) * F.normalize(y, dim=1)).sum(1)


def view_pairs(anchors: Tensor, positives: Tensor, candidates: tuple[Tensor, ...], rows: slice = EVERY) -> Pairs:
    """Return the pairs of anchors with views of the same image (positives) and of other images (negatives).

    Args:
        anchors: N×D, all ranks' rows; row i is image i's in all of these.
        positives: N×D, of another view.
        candidates: views, each N×D; the negatives are their rows of other images, (N − 1) from each.
        rows: the rows of this rank, n of N.
    """
    n = len(anchors)
    positive = paired_cosines(anchors[rows], positives[rows])  # n
    others = cosines(anchors[rows], torch.cat(candidates))  # n×(V·N)
    same = torch.eye(n, dtype=torch.bool, device=anchors.device)[rows]  # n×N
    return Pairs(positive, others, same.repeat(1, len(candidates)), len(candidates) * (n - 1))


def two_view_pairs(z1: Tensor, z2: Tensor, rows: slice = EVERY) -> Pairs:
    """Return the pairs of NT-Xent: each view's rows (N×D) with the other's, and 2N − 2 negatives of both views."""
    return joined(view_pairs(z1, z2, (z1, z2), rows), view_pairs(z2, z1, (z1, z2), rows))


def crop_pairs(c: Tensor, z1: Tensor, z2: Tensor, rows: slice = EVERY) -> Pairs:
    """Return the pairs of small crops (N×D, one of each image) as anchors: with view 1, then with view 2 as positive.

    Negatives are the 2N − 2 rows of other images in both views; a crop is never a positive or a negative.
    """
    return joined(view_pairs(c, z1, (z1, z2), rows), view_pairs(c, z2, (z1, z2), rows))


def joined(*several: Pairs) -> Pairs:
    """Return the anchors of several, one after another; they have as many candidates each, and all exclude some."""
    return Pairs(
        torch.cat([one.positive for one in several]),
        torch.cat([one.candidates for one in several]),
        torch.cat([one.excluded for one in several if one.excluded is not None]),
        several[0].negatives,
    )


def queue_pairs(q: Tensor, k: Tensor, negatives: Tensor) -> Pairs:
    """Return the pairs of queries n×D with their keys n×D and a queue K×D, whose rows are all negatives."""
    return Pairs(paired_cosines(q, k), cosines(q, negatives), None, len(negatives))


def softmax_loss(pairs: Pairs, temperature: float) -> Tensor:
    """Return the mean over anchors of −log e^{s⁺/τ} / (e^{s⁺/τ} + Σ e^{s⁻/τ}), a scalar: InfoNCE over these pairs.

    Over `two_view_pairs` it is SimCLR's NT-Xent; the reference implementation adds the two views' means up, and is
    twice this.
    """
    positive = pairs.positive[:, None] / temperature  # n×1
    logits = torch.cat([positive, pairs.logits(temperature)], dim=1)  # n×(1+K)
    return (torch.logsumexp(logits, dim=1) - positive[:, 0]).mean()


def decoupled(pairs: Pairs, temperature: float, weights: Tensor | None = None) -> Tensor:
    """Return the mean over n anchors of −w·s⁺/τ + log Σ e^{s⁻/τ}, a scalar; w is n, or 1 for all."""
    positive = pairs.positive if weights is None else weights * pairs.positive
    return (torch.logsumexp(pairs.logits(temperature), dim=1) - positive / temperature).mean()


@torch.no_grad()
def mises_fisher_weights(x: Tensor, y: Tensor, sigma: float = 0.5) -> Tensor:
    """Return w_i = 2 − e^{s_i/σ} / mean_j e^{s_j/σ} with s_i = cos(x_i, y_i): N×D, N×D, all ranks' rows -> N.

    Their mean is 1; those of hard positives are larger. They take no gradient, as in lightly; a widely read
    implementation (raminnakhli) lets it through: equal values, other gradients.
    """
    return 2.0 - len(x) * torch.softmax(paired_cosines(x, y) / sigma, dim=0)


def simple(pairs: Pairs, negative_weight: float = 1.0, share: float = 1.0) -> Tensor:
    """Return L_simple, the mean over anchors of −s⁺ + λ·mean s⁻, a scalar in [−1 − λ, 1 + λ].

    Args:
        pairs: of n anchors.
        negative_weight: λ, of the mean over negatives (the paper sums them: its λ is this one over their number).
        share: of the negatives, the hardest of each anchor; 1 for all.
    """
    return (negative_weight * pairs.keep_hardest(share).mean_negative() - pairs.positive).mean()


def hard(pairs: Pairs, temperature: float, share: float) -> Tensor:
    """Return L_hard, InfoNCE over the negatives s⁻ ≥ s_α alone, a scalar.

    Args:
        pairs: of n anchors.
        temperature: τ.
        share: α in (0, 1]; s_α is the upper quantile α of the anchor's negatives, of which at least one is kept.
            With 1 it is InfoNCE.
    """
    return softmax_loss(pairs.keep_hardest(share), temperature)
