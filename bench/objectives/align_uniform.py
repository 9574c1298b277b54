"""Alignment and uniformity: views of an image close together, all images spread over the sphere; no softmax.

Claim:     83.19 % on STL-10 by the reference's default command, with a small AlexNet (examples/stl10/README.md); none
           is known with this network and data.
Paper:     Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
           Hypersphere" (ICML 2020).
Equation:  loss = align_weight·mean ‖x − y‖^α + uniform_weight·½·[U(x) + U(y)], x, y = normalised projections of both
           views, of all ranks; U(x) = log mean_{i<j} e^{−t·‖x_i − x_j‖²}, pairs of one view, none with itself.
           α = 2, t = 2. U is −4 for embeddings that are all orthogonal, its limit for many dimensions.
           With C small crops alignment is (‖x − y‖^α + Σ_c ½·[‖c − x‖^α + ‖c − y‖^α]) / (1 + C), where every view
           counts alike, and uniformity is the mean of U over all 2 + C views, each among those of its own kind.
Reference: SsnL/align_uniform, align_uniform/__init__.py and examples/stl10/main.py.
Departs from it: ResNet-50 with SimCLR's head, where it has a small AlexNet whose last layer is the projection and which
           starts from N(0, 0.02²). Weights are 1 and 1, the code's defaults; the paper's table for STL-10 has about
           0.98 and 0.96. Norms are over both views of the whole batch (there: of a part of one view on each of the 4
           GPUs behind that number). On ImageNet-100 the authors use other weights and a variant of MoCo, which is not
           here. It has no small crops; they are SwAV's (Caron et al., NeurIPS 2020).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.config.setting_types import Positive, Weight
from bench.data.views import MOCO_VIEWS, Batch, View
from bench.losses.uniformity import alignment, uniformity
from bench.nn.collectives import gather
from bench.nn.encoder import Encoder
from bench.nn.multi_crop import by_resolution
from bench.objectives.two_view_contrast import TwoViewContrast


class AlignUniform(TwoViewContrast):
    """Alignment of two views plus uniformity of each, on the unit sphere."""

    later: ClassVar[tuple[str, ...]] = ("crops", "crop_size", "crop_scale")

    def __init__(
        self,
        encoder: Encoder,
        *,
        align_weight: Weight = 1.0,
        uniform_weight: Weight = 1.0,
        alpha: Positive = 2.0,
        t: Positive = 2.0,
        **settings: Any,
    ) -> None:
        super().__init__(encoder, **settings)
        self.align_weight, self.uniform_weight, self.alpha, self.t = align_weight, uniform_weight, alpha, t

    def views(self, size: int) -> tuple[View, ...]:
        """The two views of the paper's STL-10 runs: jitter always, no blur; then the small crops, drawn alike."""
        view = replace(MOCO_VIEWS(size)[0], scale=(0.08, 1.0), grey_first=False)  # examples/stl10/main.py:61-62
        return (view, view, *self.small_crops(view))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, alignment, uniformity (both before their weights)."""
        # Two views n×3×H×W, in one forward; C crops n×3×h×w, in another.
        project = nn.Sequential(self.encoder, self.projector)
        z1, z2, *crops = (gather(z) for z in by_resolution(project, batch.views))  # N×D, all ranks'
        small = [0.5 * (alignment(c, z1, self.alpha) + alignment(c, z2, self.alpha)) for c in crops]
        align = torch.stack([alignment(z1, z2, self.alpha), *small]).mean()
        uniform = torch.stack([uniformity(z, self.t) for z in (z1, z2, *crops)]).mean()
        loss = self.align_weight * align + self.uniform_weight * uniform
        return {"loss": loss, "alignment": align.detach(), "uniformity": uniform.detach()}
