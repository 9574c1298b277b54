"""DCL: SimCLR without the positive in the denominator, so that few negatives do.

Claim:     about 65.9 % ImageNet linear top-1 against SimCLR's 61.8 % (from memory of the paper: ResNet-50, batch 256,
           200 epochs).
Paper:     Yeh et al., "Decoupled Contrastive Learning" (ECCV 2022).
Equation:  loss = mean over both views and all images of −s_i⁺/τ + log Σ e^{s/τ}, the sum over the 2N − 2 views of
           other images, of all ranks; s = cosine of projections z = g(f(v)). It can be negative.
Reference: raminnakhli/Decoupled-Contrastive-Learning; there one direction, and the caller normalises.
Departs from it: both directions, as the paper has it (loss/dcl.py:19-33 has one); a positive is left out of the sum
           (there: e^{−103} of it stays). With gradient accumulation negatives are the micro-batch's.
           The paper has no small crops; they are those of `simclr`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bench.config.setting_types import Positive
from bench.losses.pairs import Pairs, decoupled
from bench.nn.encoder import Encoder
from bench.objectives.two_view_contrast import TwoViewContrast


class DCL(TwoViewContrast):
    """DCL: SimCLR's loss decoupled from its positive."""

    def __init__(self, encoder: Encoder, *, temperature: Positive = 0.1, **settings: Any) -> None:
        super().__init__(encoder, **settings)
        self.temperature = temperature

    def loss_of_pairs(self, pairs: Pairs) -> Tensor:
        """Return the loss without the positive in the denominator."""
        return decoupled(pairs, self.temperature)
