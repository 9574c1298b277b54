"""DirectCLR: contrast a part of the features themselves, without a projector.

Claim:     62.7 % ImageNet linear top-1 with ResNet-50 (100 epochs, batch 4096), as with a trained linear projector
           (about 61.1), above none (about 51.5) and below SimCLR's (about 66.5; these from memory of the paper).
Paper:     Jing et al., "Understanding Dimensional Collapse in Contrastive Self-supervised Learning" (ICLR 2022).
Equation:  z = r[:d₀], the first d₀ of the features r = f(v), normalised after the cut; loss = ½·(ℓ₁₂ + ℓ₂₁),
           ℓ₁₂ = mean_i −log e^{s_ii/τ} / Σ_j e^{s_ij/τ}, s_ij = cos(z_i¹, z_j²): candidates of the other view alone, of
           all ranks.
           With C small crops: (loss + Σ_c ℓ_c) / (1 + C); ℓ_c has the crop's z as the anchor, either view of the same
           image as the positive (a mean over both), and that view's other images as negatives.
Reference: facebookresearch/directclr. (lightly's DirectCLRLoss is another loss: it has negatives of the same view.)
Departs from it: with gradient accumulation negatives are the micro-batch's. The paper has no small crops;
           they are SwAV's (Caron et al., NeurIPS 2020).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from bench.config.setting_types import Count, Positive
from bench.data.views import SIMCLR_VIEWS, Batch
from bench.errors import BadInput
from bench.losses.contrastive import cross_view_nce
from bench.losses.mean_over_crops import with_crops
from bench.nn.collectives import gather, rank_rows
from bench.nn.encoder import Encoder
from bench.nn.multi_crop import by_resolution
from bench.objectives.small_crops import SmallCrops


class DirectCLR(SmallCrops):
    """DirectCLR: InfoNCE between the first d0 features of two views, no projector."""

    needs_several_for = "negatives, which are other images"
    full_views = staticmethod(SIMCLR_VIEWS)
    crops_apart = True
    later: ClassVar[tuple[str, ...]] = ("crops", "crop_size", "crop_scale")

    def __init__(
        self,
        encoder: Encoder,
        *,
        d0: Count = 360,
        temperature: Positive = 0.1,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        if d0 > encoder.feature_dim:
            raise BadInput(f"objective.d0 is {d0}; set it within 1 and the {encoder.feature_dim} features.")
        self.d0, self.temperature = d0, temperature

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, and with small crops loss_global and loss_crops (its mean over crops)."""
        # Two views n×3×H×W, in one forward; C crops n×3×h×w, in another: n×F each.
        features = by_resolution(self.encoder, batch.views)
        z1, z2, *crops = (r[:, : self.d0] for r in features)  # n×d₀; the loss normalises what is left
        rows, tau = rank_rows(len(z1)), self.temperature
        y1, y2 = gather(z1), gather(z2)  # N×d₀, all ranks'
        ell_12 = cross_view_nce(y1[rows], y2, tau, rows.start)
        ell_21 = cross_view_nce(y2[rows], y1, tau, rows.start)
        small = [0.5 * (cross_view_nce(c, y1, tau, rows.start) + cross_view_nce(c, y2, tau, rows.start)) for c in crops]
        return with_crops(0.5 * (ell_12 + ell_21), small)

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """The pooled features N×F, and the part of them that the loss sees, N×d₀."""
        features = self.encoder(images)
        return {"backbone": features, "projector": features[:, : self.d0]}
