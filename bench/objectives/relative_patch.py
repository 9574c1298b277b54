"""Relative patch location: on which side of the middle one does a patch lie?

Claim:     40.4 % ImageNet linear top-1 with ResNet-50 (mmselfsup, 70 epochs: `imagenet_relative_patch`).
Paper:     Doersch, Gupta and Efros, "Unsupervised Visual Representation Learning by Context Prediction" (ICCV 2015),
           section 3.
Equation:  loss = −(1/8N)·Σ_i Σ_k log softmax(h([f(c_i), f(p_ik)]))_k; c_i is the middle patch of image i, p_ik its
           neighbour k of 8 (row by row), h: 2F → 4096 → 8.
Reference: cdoersch/deepcontext, train.py: patches of 96 pixels, 48 apart, moved by up to 7 (lines 14-17); against
           shortcuts (prep_image, 89-111) a third of them is resampled to fewer pixels and back, all but one colour is
           dropped, and mean and contrast are taken away; no mirror images.
Departs from it: a ResNet-50, and all eight neighbours of one middle patch of each image, as in mmselfsup (there: an
           AlexNet, and all pairs of neighbours of four grids anywhere in an image of 150,000 to 450,000 pixels). h is
           mmselfsup's, with a norm (there: two hidden layers of 4,096, on 4,096 numbers of each patch). The crop is a
           square of 255/292 of the shorter side, as in mmselfsup; that squashes images into a square first, and
           normalises middle patches and neighbours apart (here: all patches together). Patches are scaled to a mean
           square of 1 of normalised values (there: 50 grey levels). Running statistics of batch norms are those of
           whole images (an extra forward without gradient) unless `image_statistics` is off: those of patches serve a
           frozen trunk badly.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bench.config.setting_types import Count, Portion, Rate, Share, Whole
from bench.data.views import SQUARE_VIEW, Batch, View
from bench.losses.classification import classified
from bench.nn import draws
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.patches import Grid, each_patch, evened, features_of, reductions, sometimes_reduced, with_one_colour
from bench.nn.seeding import seeded
from bench.objectives.base import Objective


class RelativePatch(Objective):
    """Relative patch location: which of its eight neighbours a patch is to the middle one of a 3×3 grid."""

    definition: ClassVar[int] = 2  # the code's defences against shortcuts, no mirror images, another crop

    norm_groups: ClassVar[bool] = True

    reductions: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        crop: Portion = 0.8733,  # side of the square, as a share of the image's shorter one: 255 of 292 pixels
        patch_size: Count = 96,
        gap: Whole = 48,
        jitter: Whole = 7,
        downsample: Share = 0.33,  # of the patches
        drop_colours: bool = True,
        standardise: bool = True,
        grey: Share = 0.0,
        hidden_dim: Count = 4096,
        dropout: Rate = 0.0,  # before the last layer of h
        image_statistics: bool = True,
    ) -> None:
        super().__init__(encoder)
        self.grid = Grid(3, patch_size, gap, jitter)
        self.crop, self.grey, self.image_statistics = crop, grey, image_statistics
        self.downsample, self.drop_colours, self.standardise = downsample, drop_colours, standardise
        self.dropout = dropout
        if downsample:
            self.register_buffer("reductions", reductions(max(32, patch_size)), persistent=False)
        with seeded(encoder.seed, "relative patch classifier"):
            self.classifier = projection_mlp((2 * encoder.feature_dim, hidden_dim, 8))

    def views(self, size: int) -> tuple[View, ...]:
        """One square, from which the patches are cut."""
        return (SQUARE_VIEW(size, self.crop, self.grey, flip=0.0),)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views that are too small for the grid."""
        self.grid.check(view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, top1_percent (12.5 by chance)."""
        (v,) = batch.views  # N×3×H×H
        patches = self.grid.cut(v)  # N×9×3×s×s
        if self.downsample:
            patches = sometimes_reduced(patches, self.reductions, self.downsample)
        if self.drop_colours:
            patches = with_one_colour(patches)
        if self.standardise:
            patches = evened(patches)
        f = features_of(self.encoder, patches, v if self.image_statistics else None)  # N×9×F
        middle, neighbours = f[:, 4:5].expand(-1, 8, -1), torch.cat([f[:, :4], f[:, 5:]], dim=1)  # N×8×F
        pairs = torch.cat([middle, neighbours], dim=2)  # N×8×2F
        hidden = each_patch(self.classifier[:-1], pairs)  # N×8×4096
        logits = self.classifier[-1](self._dropped(hidden)).flatten(0, 1)  # 8N×8
        k = torch.arange(8, device=logits.device).repeat(len(v))  # 8N
        return classified(logits, k)

    def _dropped(self, x: Tensor) -> Tensor:
        """Dropout in training: N×8×D -> N×8×D."""
        if not self.training or not self.dropout:
            return x
        kept = draws.uniform(len(x), *x.shape[1:], like=x) >= self.dropout
        return x * kept / (1.0 - self.dropout)
