"""Hard contrastive loss: InfoNCE with nothing but the hardest negatives of each anchor.

Claim:     with hard negatives picked explicitly, a large temperature works, too: hardness is what a small one is for.
Paper:     Wang and Liu, "Understanding the Behaviour of Contrastive Loss" (CVPR 2021), L_hard.
Equation:  loss = mean over both views and all images of −log e^{s⁺/τ} / (e^{s⁺/τ} + Σ e^{s⁻/τ}), the sum over negatives
           with s⁻ ≥ s_α, the upper quantile α of that anchor's 2N − 2 negatives (of all ranks), without gradient.
Reference: none public. (joshr17/HCL, of Robinson et al., "Contrastive Learning with Hard Negative Samples", weighs all
           negatives by their similarity: another loss.)
Departs from it: two views and a batch, where the paper has a memory of all images and chooses α for each data set;
           hard_share = 0.1 is our choice, and at least one negative is kept. With gradient accumulation negatives are
           the micro-batch's. The paper has no small crops; they are those of `simclr`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bench.config.setting_types import Portion, Positive
from bench.losses.pairs import Pairs, hard
from bench.nn.encoder import Encoder
from bench.objectives.two_view_contrast import TwoViewContrast


class HardContrastive(TwoViewContrast):
    """Hard contrastive loss: InfoNCE with the hardest negatives of each anchor."""

    def __init__(
        self, encoder: Encoder, *, temperature: Positive = 0.3, hard_share: Portion = 0.1, **settings: Any
    ) -> None:
        super().__init__(encoder, **settings)
        self.temperature, self.hard_share = temperature, hard_share

    def loss_of_pairs(self, pairs: Pairs) -> Tensor:
        """Return InfoNCE with a share of the negatives."""
        return hard(pairs, self.temperature, self.hard_share)
