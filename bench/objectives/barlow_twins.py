"""Barlow Twins: two views' embeddings agree in each dimension, and no dimension repeats another.

Claim:     73.2 % ImageNet linear top-1 with ResNet-50 (1000 epochs, batch 2048).
Paper:     Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction" (ICML 2021), eq. 1 and 2.
Equation:  loss = Σ_i (1 − C_ii)² + λ·Σ_{i≠j} C_ij²; C is the cross-correlation over the whole batch of the projections
           of both views, D×D.
Reference: facebookresearch/barlowtwins.
Departs from it: projections are gathered and standardised by every rank (there: SyncBN, and a sum of D×D matrices over
           ranks): the same C. No small crops: the paper defines C for two views.
"""

from __future__ import annotations

from torch import Tensor

from bench.data.views import BYOL_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.barlow import cross_correlation, to_identity
from bench.nn.collectives import gather
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.seeding import seeded
from bench.objectives.base import Objective, ParamGroup


class BarlowTwins(Objective):
    """Barlow Twins: the cross-correlation of two views' embeddings is pulled to the identity."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        projection_dim: int = 8192,
        weight: float = 0.0051,  # λ
        bias_rate: float = 0.024,  # of biases and norms, times that of weights: 0.0048 / 0.2
    ) -> None:
        super().__init__(encoder)
        if projection_dim < 1:
            raise BadInput(f"objective.projection_dim is {projection_dim}; set it to 1 or more.")
        if weight < 0:
            raise BadInput(f"objective.weight is {weight}; set it to 0 or more.")
        if bias_rate < 0:
            raise BadInput(f"objective.bias_rate is {bias_rate}; set it to 0 or more.")
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, *[projection_dim] * 3), bias=False)
        self.weight, self.bias_rate = weight, bias_rate

    def views(self, size: int) -> tuple[View, ...]:
        """BYOL's two views, as in the paper."""
        return BYOL_VIEWS(size)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch of one image, which has no correlation."""
        del view_size
        if batch_size < 2:
            raise BadInput("barlow_twins correlates over the images of a batch; set batch_size above 1.")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, invariance, redundancy (before its weight λ)."""
        v1, v2 = batch.views  # N×3×H×W
        z1, z2 = (self.projector(self.encoder(v)) for v in (v1, v2))  # N×D
        c = cross_correlation(gather(z1), gather(z2))  # D×D, over all ranks
        invariance, redundancy = to_identity(c)
        loss = invariance + self.weight * redundancy
        return {"loss": loss, "invariance": invariance.detach(), "redundancy": redundancy.detach()}

    def param_groups(self) -> list[ParamGroup]:
        """As everywhere, biases and norms at a rate of their own."""
        weights, rest = super().param_groups()
        rest["rate"] = self.bias_rate
        return [weights, rest]
