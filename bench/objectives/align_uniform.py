"""Alignment and uniformity: views of an image close together, all images spread over the sphere; no softmax.

Claim:     as good as or better than InfoNCE with the same network; the paper's main table is for STL-10.
Paper:     Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
           Hypersphere" (ICML 2020).
Equation:  loss = align_weight·mean ‖x − y‖^α + uniform_weight·½·[U(x) + U(y)], x, y = normalised projections of both
           views, of all ranks; U(x) = log mean_{i<j} e^{−t·‖x_i − x_j‖²}, pairs of one view, none with itself.
           α = 2, t = 2. U is −4 for embeddings that are all orthogonal, its limit for many dimensions.
           With C small crops alignment is (‖x − y‖^α + Σ_c ½·[‖c − x‖^α + ‖c − y‖^α]) / (1 + C), where every view
           counts alike, and uniformity is the mean of U over all 2 + C views, each among those of its own kind.
Reference: SsnL/align_uniform (STL-10).
Departs from it: ResNet-50 with SimCLR's head, where it has a small AlexNet whose last layer is the projection; the
           paper's weights differ between data sets (about 0.98 and 0.96 on STL-10), ours are 1 and 1. It has no small
           crops; they are SwAV's (Caron et al., NeurIPS 2020).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from bench.data.views import LOCAL_CROPS, MOCO_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.contrast_by_name import Contrast
from bench.losses.uniformity import alignment, uniformity
from bench.nn.collectives import gather
from bench.nn.encoder import Encoder
from bench.nn.heads import PROJECTORS, simclr_projector
from bench.nn.multi_crop import by_resolution, check_crops, check_smaller
from bench.objectives.base import Objective
from bench.settings import Count, CropSize, Positive, Weight, Whole


class AlignUniform(Objective):
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
        projector: Annotated[str, PROJECTORS] = "mlp",
        projector_layers: Count = 2,
        projector_rank: int = 360,
        hidden_dim: Count = 2048,
        projection_dim: Count = 128,
        crops: Whole = 0,
        crop_size: CropSize = 96,
        crop_scale: tuple[float, float] = (0.05, 0.14),
    ) -> None:
        super().__init__(encoder)
        check_crops(crops, crop_size, crop_scale)
        if alpha <= 0:
            raise BadInput(f"objective.alpha is {alpha}; set it above 0.")
        weights = {"align_weight": align_weight, "uniform_weight": uniform_weight, "t": t}
        self.settings, self.alpha = Contrast("align_uniform", **weights), alpha
        sizes = {"layers": projector_layers, "hidden_dim": hidden_dim, "projection_dim": projection_dim}
        self.projector = simclr_projector(encoder, projector, rank=projector_rank, **sizes)
        self.crops, self.crop_size = crops, crop_size
        self.crop_scale = (float(crop_scale[0]), float(crop_scale[1]))

    def views(self, size: int) -> tuple[View, ...]:
        """The two views of the paper's STL-10 runs: jitter always, no blur; then the small crops, drawn alike."""
        view = replace(MOCO_VIEWS(size)[0], scale=(0.08, 1.0))
        return (view, view, *LOCAL_CROPS(view, self.crops, self.crop_size, self.crop_scale))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch without pairs of images, and crops that are not smaller than the views."""
        self.settings.check_batch(batch_size)
        check_smaller(self.crops, self.crop_size, view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, alignment, uniformity (both before their weights)."""
        # Two views n×3×H×W, in one forward; C crops n×3×h×w, in another.
        z1, z2, *crops = (gather(z) for z in by_resolution(self._project, batch.views))  # N×D, all ranks'
        small = [0.5 * (alignment(c, z1, self.alpha) + alignment(c, z2, self.alpha)) for c in crops]
        align = torch.stack([alignment(z1, z2, self.alpha), *small]).mean()
        uniform = torch.stack([uniformity(z, self.settings.t) for z in (z1, z2, *crops)]).mean()
        loss = self.settings.align_weight * align + self.settings.uniform_weight * uniform
        return {"loss": loss, "alignment": align.detach(), "uniformity": uniform.detach()}

    def _project(self, images: Tensor) -> Tensor:
        """g(f(v)): n×3×H×W -> n×D."""
        return self.projector(self.encoder(images))
