"""Relative patch location: on which side of the middle one does a patch lie?

Claim:     40.4 % ImageNet linear top-1 with ResNet-50 (mmselfsup, 70 epochs).
Paper:     Doersch, Gupta and Efros, "Unsupervised Visual Representation Learning by Context Prediction" (ICCV 2015),
           section 3.
Equation:  loss = −(1/8N)·Σ_i Σ_k log softmax(h([f(c_i), f(p_ik)]))_k; c_i is the middle patch of image i, p_ik its
           neighbour k of 8 (row by row), h: 2F → 4096 → 8.
Reference: cdoersch/deepcontext for patches of 96 pixels, 48 apart, moved by up to 7, with dropped colours.
Departs from it: a ResNet-50, and all eight neighbours of one middle patch of each image, as in mmselfsup (there: an
           AlexNet, and pairs drawn anywhere); no dropout in h. Running statistics of batch norms are those of whole
           images (an extra forward without gradient) unless `image_statistics` is off: those of patches serve
           a frozen trunk badly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.config.setting_types import Count, Share, Whole
from bench.data.views import PATCH_VIEW, Batch, View
from bench.losses.classification import classified
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.patches import Grid, features_of, with_one_colour
from bench.nn.seeding import seeded
from bench.objectives.base import Objective


class RelativePatch(Objective):
    """Relative patch location: which of its eight neighbours a patch is to the middle one of a 3×3 grid."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        patch_size: Count = 96,
        gap: Whole = 48,
        jitter: Whole = 7,
        drop_colours: bool = True,
        grey: Share = 0.0,
        hidden_dim: Count = 4096,
        image_statistics: bool = True,
    ) -> None:
        super().__init__(encoder)
        self.grid = Grid(3, patch_size, gap, jitter)
        self.drop_colours, self.grey, self.image_statistics = drop_colours, grey, image_statistics
        with seeded(encoder.seed, "relative patch classifier"):
            self.classifier = projection_mlp((2 * encoder.feature_dim, hidden_dim, 8))

    def views(self, size: int) -> tuple[View, ...]:
        """One square, from which the patches are cut."""
        return (PATCH_VIEW(size, self.grey),)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views that are too small for the grid."""
        self.grid.check(view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, top1_percent (12.5 by chance)."""
        (v,) = batch.views  # N×3×H×H
        patches = self.grid.cut(v)  # N×9×3×s×s
        if self.drop_colours:
            patches = with_one_colour(patches)
        f = features_of(self.encoder, patches, v if self.image_statistics else None)  # N×9×F
        middle, neighbours = f[:, 4:5].expand(-1, 8, -1), torch.cat([f[:, :4], f[:, 5:]], dim=1)  # N×8×F
        logits = self.classifier(torch.cat([middle, neighbours], dim=2).flatten(0, 1))  # 8N×8
        k = torch.arange(8, device=logits.device).repeat(len(v))  # 8N
        return classified(logits, k)
