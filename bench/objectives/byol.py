"""BYOL: predict a slowly moving copy of yourself, which sees another view. No negatives.

Claim:     74.3 % ImageNet linear top-1 with ResNet-50 (1000 epochs, batch 4096; τ₀ = .996, where the default here is
           that of 100 and 300 epochs). The reference's README: 74.0 to 74.5.
Paper:     Grill et al., "Bootstrap Your Own Latent" (NeurIPS 2020), eq. 2 to 4.
Equation:  loss = ‖n(p₁) − n(z′₂)‖² + ‖n(p₂) − n(z′₁)‖², a mean over images and a sum over both directions, 4 − 4·cos;
           p = q(g(f(v))) of the online network, z′ = g′(f′(v)) of the target network, n(x) = x/‖x‖.
           With small crops (0 by default): twice the mean of ‖n(p) − n(z′)‖² over (prediction, target) pairs, each crop
           predicting both views' targets, which keeps the scale. No crop goes through the target.
           After each optimizer step ξ ← τ·ξ + (1 − τ)·θ, τ from τ₀ to 1 along a half cosine.
Reference: google-deepmind/deepmind-research, byol/: byol_experiment.py, configs/byol.py, utils/.
Departs from it: the target starts as a copy of the online network (there: drawn separately); layers start as torch's
           and torchvision's do (there: truncated normal, by fan-in); brightness is a factor (there: a sum); a crop that
           does not fit is drawn anew (there: cut off); no linear classifier is trained alongside. The paper has no
           small crops; they are SwAV's (Caron et al., NeurIPS 2020).
           Where paper and code differ: the last norm of each residual block starts at 1 in the paper and at 0 in the
           published code, says its README; the configs have the code's (zero_init_residual).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.config.setting_types import Count, Share
from bench.data.views import BYOL_VIEWS, Batch, View
from bench.losses.regression import multi_crop_regression
from bench.nn.bootstrap import bootstrap_networks
from bench.nn.encoder import Encoder
from bench.nn.multi_crop import by_resolution
from bench.objectives.moving_copies import MovingCopies


class BYOL(MovingCopies):
    """BYOL: predict the other view's projection by a slowly moving copy of the network."""

    needs_several_for = "several images for the batch norms in its heads"
    mean_over_images: ClassVar[bool] = True
    full_views = staticmethod(BYOL_VIEWS)
    crops_like = View()
    later: ClassVar[tuple[str, ...]] = ("crops", "crop_size", "crop_scale")

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden_dim: Count = 4096,
        projection_dim: Count = 256,
        tau0: Share = 0.99,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        networks = bootstrap_networks(encoder, hidden_dim, projection_dim)
        self.projector, self.predictor, self.target_encoder, self.target_projector = networks
        self.tau0 = tau0

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        v1, v2, *crops = batch.views  # N×3×H×W, K crops N×3×h×w
        f, g, q = self.encoder, self.projector, self.predictor
        p1, p2 = q(g(f(v1))), q(g(f(v2)))  # N×D; each view by itself, with its own batch statistics
        small = by_resolution(lambda v: q(g(f(v))), crops)  # K of N×D, in one forward
        with torch.no_grad():
            z1, z2 = (self.target_projector(self.target_encoder(v)) for v in (v1, v2))  # N×D
        return {"loss": multi_crop_regression(p1, p2, small, z1, z2)}
