"""VICReg: views agree (invariance), every dimension varies (variance), no two vary together (covariance).

Claim:     73.2 % ImageNet linear top-1 with ResNet-50 (1000 epochs, batch 2048; the reference's README).
Paper:     Bardes, Ponce and LeCun, "VICReg" (ICLR 2022), eq. 1 to 6.
Equation:  loss = 25·mean (z₁ − z₂)² + 25·½·[var(z₁) + var(z₂)] + 1·[cov(z₁) + cov(z₂)];
           var(z) = mean_d max(0, 1 − √(var_d + ε)), cov(z) = Σ_{i≠j} cov_ij²/D, over the whole batch.
           With small crops (as in VICRegL): the mean invariance over pairs of a full view and another, the mean
           variance over all views, and twice the mean covariance.
Reference: facebookresearch/vicreg: main_vicreg.py, augmentations.py.
Departs from it: small crops, 0 by default, are not in its paper; the invariance is of all ranks' images, whose mean is
           that of the ranks' own. Linear layers before a norm have no bias (there they do; the norm takes it out). With
           gradient accumulation variance and covariance are over the micro-batch (of all ranks).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bench.config.setting_types import Count, Weight
from bench.data.views import BYOL_VIEWS, Batch, View
from bench.losses.variance_covariance import view_terms
from bench.nn.collectives import gather
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.small_crops import SmallCrops


class VICReg(SmallCrops):
    """VICReg: invariance between views, variance and covariance of each."""

    needs_several_for = "variances over the images of a batch"
    full_views = staticmethod(BYOL_VIEWS)
    crops_like = View()

    def __init__(
        self,
        encoder: Encoder,
        *,
        projection_dim: Count = 8192,
        invariance_weight: Weight = 25.0,
        variance_weight: Weight = 25.0,
        covariance_weight: Weight = 1.0,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        self.weights = (invariance_weight, variance_weight, covariance_weight)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, *[projection_dim] * 3), bias=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, and before their weights invariance, variance (a mean over views), covariance (a sum of two)."""
        v1, v2, *crops = batch.views  # N×3×H×W, K crops N×3×h×w
        project = nn.Sequential(self.encoder, self.projector)
        z = [project(v1), project(v2), *by_resolution(project, crops)]  # N×D
        invariance, variance, covariance = view_terms([gather(each) for each in z])
        covariance = 2.0 * covariance
        s, v, c = self.weights
        loss = s * invariance + v * variance + c * covariance
        terms = {"invariance": invariance, "variance": variance, "covariance": covariance}
        return {"loss": loss} | {name: term.detach() for name, term in terms.items()}
