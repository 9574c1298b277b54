"""SimSiam: predict the other view's projection by the same network, with a stop-gradient; no target, no negatives.

Claim:     68.1 % ImageNet linear top-1 with ResNet-50 (100 epochs, batch 512; the reference's README).
Paper:     Chen and He, "Exploring Simple Siamese Representation Learning" (CVPR 2021), eq. 1 to 4, algorithm 1.
Equation:  loss = ½·D(p₁, sg z₂) + ½·D(p₂, sg z₁), D(p, z) = −cos(p, z), a mean over images; in [−1, 1].
           z = g(f(v)), p = h(z). The predictor's learning rate does not decay.
           With small crops: the mean of D(p, sg z) over all pairs of a prediction and a full view's z, but that of the
           prediction's own view.
Reference: facebookresearch/simsiam: main_simsiam.py, simsiam/builder.py.
Departs from it: the rate falls at every step (there: epoch); the projector's hidden layers have `projection_dim` units
           (there: as many as the encoder has features, equal for a ResNet-50); `std`, which tells a collapse, is a term
           of every step. The paper has no small crops.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from bench.config.setting_types import Count
from bench.data.views import MOCO_V2_VIEWS, Batch
from bench.losses.float32 import at_least_float32
from bench.losses.regression import multi_crop_regression
from bench.nn.collectives import gather
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.base import ParamGroup, groups_apart
from bench.objectives.small_crops import SmallCrops


class SimSiam(SmallCrops):
    """SimSiam: predict the other view's projection by the same network, which gets no gradient there."""

    needs_several_for = "several images for the batch norms in its heads"
    mean_over_images: ClassVar[bool] = True
    full_views = staticmethod(MOCO_V2_VIEWS)

    def __init__(
        self,
        encoder: Encoder,
        *,
        projection_dim: Count = 2048,
        hidden_dim: Count = 512,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        d = projection_dim
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, d, d, d), last_norm=True, last_affine=False)  # g
            self.predictor = projection_mlp((d, hidden_dim, d))  # h: a bottleneck, no norm at its end

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, std (1 for projections that fill the sphere, 0 for a collapse to one point)."""
        v1, v2, *crops = batch.views  # N×3×H×W, K crops N×3×h×w
        f, g, h = self.encoder, self.projector, self.predictor
        z1, z2 = g(f(v1)), g(f(v2))  # N×D; each view by itself, with its own batch statistics
        p1, p2 = h(z1), h(z2)  # N×D
        small = by_resolution(lambda v: h(g(f(v))), crops)  # K of N×D, in one forward
        loss = multi_crop_regression(p1, p2, small, z1, z2) / 4.0 - 1.0  # 2 − 2·cos is 2 + 2·D; no gradient through z
        return {"loss": loss, "std": spread(gather(z1.detach()))}

    def param_groups(self) -> list[ParamGroup]:
        """As everywhere, and the predictor's apart: their rate stays at its peak."""
        return groups_apart(super().param_groups(), self.predictor, {"constant": False}, {"constant": True})


@at_least_float32
def spread(z: Tensor) -> Tensor:
    """Return √D times the mean over d of the standard deviation of n(z)_d: N×D, all ranks' rows -> scalar.

    1 where directions are uniform on the sphere, 0 where all are one (section 4.1 of the paper).
    """
    return math.sqrt(z.shape[1]) * F.normalize(z, dim=1).std(dim=0).mean()
