"""Alignment and uniformity: views of an image close together, all images spread over the sphere; no softmax.

Claim:     as good as or better than InfoNCE with the same network; the paper's main table is for STL-10.
Paper:     Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
           Hypersphere" (ICML 2020).
Equation:  loss = align_weight·mean ‖x − y‖^α + uniform_weight·½·[U(x) + U(y)], x, y = normalised projections of both
           views, of all ranks; U(x) = log mean_{i<j} e^{−t·‖x_i − x_j‖²}, pairs of one view, none with itself.
           α = 2, t = 2. U is −4 for embeddings that are all orthogonal, its limit for many dimensions.
Reference: SsnL/align_uniform (STL-10).
Departs from it: ResNet-50 with SimCLR's head, where it has a small AlexNet whose last layer is the projection; the
           paper's weights differ between data sets (about 0.98 and 0.96 on STL-10), ours are 1 and 1.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bench.data.views import MOCO_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.slot import Contrast
from bench.losses.uniformity import alignment, uniformity
from bench.nn.collectives import gather
from bench.nn.encoder import Encoder
from bench.nn.heads import simclr_projector
from bench.objectives.base import Objective


class AlignUniform(Objective):
    """Alignment of two views plus uniformity of each, on the unit sphere."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        align_weight: float = 1.0,
        uniform_weight: float = 1.0,
        alpha: float = 2.0,
        t: float = 2.0,
        projector: str = "mlp",
        projector_layers: int = 2,
        projector_rank: int = 360,
        hidden_dim: int = 2048,
        projection_dim: int = 128,
    ) -> None:
        super().__init__(encoder)
        if alpha <= 0:
            raise BadInput(f"objective.alpha is {alpha}; set it above 0.")
        weights = {"align_weight": align_weight, "uniform_weight": uniform_weight, "t": t}
        self.settings, self.alpha = Contrast("align_uniform", **weights), alpha
        sizes = {"layers": projector_layers, "hidden_dim": hidden_dim, "projection_dim": projection_dim}
        self.projector = simclr_projector(encoder, projector, rank=projector_rank, **sizes)

    def views(self, size: int) -> tuple[View, ...]:
        """The two views of the paper's STL-10 runs: jitter always, no blur."""
        v1, v2 = MOCO_VIEWS(size)
        return replace(v1, scale=(0.08, 1.0)), replace(v2, scale=(0.08, 1.0))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch without pairs of images."""
        del view_size
        self.settings.check_batch(batch_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, alignment, uniformity (both before their weights)."""
        n, both = len(batch.views[0]), torch.cat(batch.views)  # 2n×3×H×W, in one forward
        z1, z2 = (gather(z) for z in self.projector(self.encoder(both)).split(n))  # N×D, all ranks'
        align = alignment(z1, z2, self.alpha)
        uniform = 0.5 * (uniformity(z1, self.settings.t) + uniformity(z2, self.settings.t))
        loss = self.settings.align_weight * align + self.settings.uniform_weight * uniform
        return {"loss": loss, "alignment": align.detach(), "uniformity": uniform.detach()}
