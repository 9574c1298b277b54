"""Barlow Twins: two views' embeddings agree in each dimension, and no dimension repeats another.

Claim:     73.2 % ImageNet linear top-1 with ResNet-50 (1000 epochs, batch 2048).
Paper:     Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction" (ICML 2021), eq. 1 and 2.
Equation:  loss = Σ_i (1 − C_ii)² + λ·Σ_{i≠j} C_ij²; C is the cross-correlation over the whole batch of the projections
           of both views, D×D.
           With C small crops: (loss + Σ_c ℓ_c) / (1 + C), ℓ_c the mean of the crop's loss with either full view; each
           of these pairs has a C of its own.
Reference: facebookresearch/barlowtwins.
Departs from it: projections are gathered and standardised by every rank (there: SyncBN, and a sum of D×D matrices over
           ranks): the same C. The paper has no small crops, and defines C for two views; crops are SwAV's (Caron et
           al., NeurIPS 2020), and no two of them are compared.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bench.config.setting_types import Count, Weight
from bench.data.views import BYOL_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.barlow import view_terms
from bench.nn.collectives import gather
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.base import ParamGroup
from bench.objectives.small_crops import SmallCrops


class BarlowTwins(SmallCrops):
    """Barlow Twins: the cross-correlation of two views' embeddings is pulled to the identity."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        projection_dim: Count = 8192,
        weight: Weight = 0.0051,  # λ
        bias_rate: Weight = 0.024,  # of biases and norms, times that of weights: 0.0048 / 0.2
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, *[projection_dim] * 3), bias=False)
        self.weight, self.bias_rate = weight, bias_rate

    def views(self, size: int) -> tuple[View, ...]:
        """BYOL's two views, as in the paper, then the small crops."""
        return (*BYOL_VIEWS(size), *self.small_crops(View()))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch of one image, which has no correlation."""
        del view_size
        if batch_size < 2:
            raise BadInput("barlow_twins correlates over the images of a batch; set batch_size above 1.")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, invariance, redundancy (before its weight λ)."""
        v1, v2, *crops = batch.views  # N×3×H×W, K crops N×3×h×w
        z1, z2 = (self._project(v) for v in (v1, v2))  # N×D; each view by itself, with its own batch statistics
        small = by_resolution(self._project, crops)  # K of N×D, in one forward
        invariance, redundancy = view_terms(gather(z1), gather(z2), [gather(z) for z in small])  # all ranks' rows
        loss = invariance + self.weight * redundancy
        return {"loss": loss, "invariance": invariance.detach(), "redundancy": redundancy.detach()}

    def _project(self, images: Tensor) -> Tensor:
        """g(f(x)): N×3×H×W -> N×D."""
        return self.projector(self.encoder(images))

    def param_groups(self) -> list[ParamGroup]:
        """As everywhere, biases and norms at a rate of their own."""
        weights, rest = super().param_groups()
        rest["rate"] = self.bias_rate
        return [weights, rest]
