"""Simple contrastive loss: all negatives are pushed away alike, hard or easy.

Claim:     no gain: it is the control that shows what InfoNCE's softmax is worth. About 74.8 % on CIFAR-10 and 39.3 % on
           CIFAR-100 (linear), where InfoNCE at its best temperature has about 83.3 and 56.4 (from memory of the paper).
Paper:     Wang and Liu, "Understanding the Behaviour of Contrastive Loss" (CVPR 2021), L_simple.
Equation:  loss = mean over both views and all images of −s_i⁺ + λ·mean s⁻ over the 2N − 2 views of other images, of all
           ranks; s = cosine of projections. Up to scale, InfoNCE as τ → ∞ (for λ = 1). There is no temperature.
           With hard_share < 1 the mean is over that share of the anchor's hardest negatives.
Reference: none public.
Departs from it: two views and a batch, where the paper has a memory of all images; λ is of the mean over negatives,
           there of their sum. With gradient accumulation negatives are the micro-batch's. The paper has no small
           crops; they are those of `simclr`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bench.config.setting_types import Portion, Weight
from bench.losses.pairs import Pairs, simple
from bench.nn.encoder import Encoder
from bench.objectives.two_view_contrast import TwoViewContrast


class SimpleContrastive(TwoViewContrast):
    """Simple contrastive loss: the softmax over negatives replaced by their mean."""

    def __init__(
        self, encoder: Encoder, *, negative_weight: Weight = 1.0, hard_share: Portion = 1.0, **settings: Any
    ) -> None:
        super().__init__(encoder, **settings)
        self.negative_weight, self.hard_share = negative_weight, hard_share

    def loss_of_pairs(self, pairs: Pairs) -> Tensor:
        """Return −s⁺ plus the weighted mean of s⁻."""
        return simple(pairs, self.negative_weight, self.hard_share)
