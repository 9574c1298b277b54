"""DirectCLR: contrast a part of the features themselves, without a projector.

Claim:     62.7 % ImageNet linear top-1 with ResNet-50 (100 epochs, batch 4096), as with a trained linear projector
           (about 61.1), above none (about 51.5) and below SimCLR's (about 66.5; these from memory of the paper).
Paper:     Jing et al., "Understanding Dimensional Collapse in Contrastive Self-supervised Learning" (ICLR 2022).
Equation:  z = r[:d₀], the first d₀ of the features r = f(v), normalised after the cut; loss = ½·(ℓ₁₂ + ℓ₂₁),
           ℓ₁₂ = mean_i −log e^{s_ii/τ} / Σ_j e^{s_ij/τ}, s_ij = cos(z_i¹, z_j²): candidates of the other view alone, of
           all ranks.
Reference: facebookresearch/directclr. (lightly's DirectCLRLoss is another loss: it has negatives of the same view.)
Departs from it: with gradient accumulation negatives are the micro-batch's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.views import SIMCLR_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.contrastive import cross_view_nce
from bench.losses.slot import Contrast
from bench.nn.collectives import gather, own_rows
from bench.nn.encoder import Encoder
from bench.objectives.base import Objective


class DirectCLR(Objective):
    """DirectCLR: InfoNCE between the first d0 features of two views, no projector."""

    def __init__(self, encoder: Encoder, *, d0: int = 360, temperature: float = 0.1) -> None:
        super().__init__(encoder)
        if not 1 <= d0 <= encoder.feature_dim:
            raise BadInput(f"objective.d0 is {d0}; set it within 1 and the {encoder.feature_dim} features.")
        self.d0, self.settings = d0, Contrast("cross_view", temperature)

    def views(self, size: int) -> tuple[View, ...]:
        """The two views of SimCLR."""
        return SIMCLR_VIEWS(size)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch without negatives."""
        del view_size
        self.settings.check_batch(batch_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        v1, v2 = batch.views  # n×3×H×W
        n, tau = len(v1), self.settings.temperature
        r = self.encoder(torch.cat([v1, v2]))  # 2n×F, in one forward
        z1, z2 = r[:, : self.d0].split(n)  # n×d₀; the loss normalises what is left
        own = own_rows(n)
        y1, y2 = gather(z1), gather(z2)  # N×d₀, all ranks'
        ell_12 = cross_view_nce(y1[own], y2, tau, own.start)
        ell_21 = cross_view_nce(y2[own], y1, tau, own.start)
        return {"loss": 0.5 * (ell_12 + ell_21)}

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """The pooled features N×F, and the part of them that the loss sees, N×d₀."""
        features = self.encoder(images)
        return {"backbone": features, "projector": features[:, : self.d0]}
