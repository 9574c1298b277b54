"""Jigsaw puzzles: in which order are the nine patches of an image?

Claim:     44.6 % ImageNet linear top-1 with a widened ResNet-50 (Kolesnikov et al. 2019, quoted by AMDIM's authors).
Paper:     Noroozi and Favaro, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles" (ECCV 2016).
Equation:  loss = −(1/N)·Σ_i log softmax(h([g(f(p_i,σ(1))), …, g(f(p_i,σ(9)))]))_k, σ = σ_k(i) drawn from K permutations
           that are far from each other.
Reference: facebookresearch/vissl, jigsaw with ResNet-50: g = linear, batch norm, ReLU to 1000; h = linear to K.
Departs from it: tiles as in the paper (64 pixels in cells of 75, each normalised by itself, about 30 % grey, from
           memory of the paper) unless set otherwise; grey is drawn for each tile; one permutation of each image in a
           batch; permutations are chosen by their least distance first, the sum second. Running statistics of
           batch norms are those of whole images (an extra forward without gradient) unless `image_statistics` is off.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from bench.config.setting_types import Count, Share, Whole
from bench.data.views import PATCH_VIEW, Batch, View
from bench.losses.classification import cross_entropy, top1_percent
from bench.nn import draws
from bench.nn.encoder import Encoder
from bench.nn.patches import Grid, features_of, in_order, sometimes_grey, standardised
from bench.nn.permutations import far_permutations
from bench.nn.seeding import seeded
from bench.objectives.base import Objective


class Jigsaw(Objective):
    """Jigsaw puzzles: by which of K permutations the nine patches of an image were shuffled."""

    orders: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        permutations: Annotated[int, Field(ge=2, le=362_880)] = 1000,  # to 9!
        patch_size: Count = 64,
        gap: Whole = 11,
        jitter: Whole = 5,
        grey: Share = 0.3,
        standardise: bool = True,
        patch_dim: Count = 1000,
        image_statistics: bool = True,
    ) -> None:
        super().__init__(encoder)
        self.grid = Grid(3, patch_size, gap, jitter)
        self.grey, self.standardise, self.image_statistics = grey, standardise, image_statistics
        self.register_buffer("orders", far_permutations(permutations))  # K×9
        with seeded(encoder.seed, "jigsaw heads"):
            self.patch_head = nn.Sequential(
                nn.Linear(encoder.feature_dim, patch_dim, bias=False), nn.BatchNorm1d(patch_dim), nn.ReLU(inplace=True)
            )
            self.classifier = nn.Linear(9 * patch_dim, permutations)

    def views(self, size: int) -> tuple[View, ...]:
        """One square, from which the patches are cut."""
        return (PATCH_VIEW(size),)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views that are too small for the grid."""
        del batch_size
        self.grid.check(view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, top1_percent (100/K by chance)."""
        (v,) = batch.views  # N×3×H×H
        n = len(v)
        k = draws.integers(n, high=len(self.orders), device=v.device)  # N
        p = in_order(sometimes_grey(self.grid.cut(v), self.grey), self.orders[k])  # N×9×3×s×s, shuffled
        if self.standardise:
            p = standardised(p)
        f = features_of(self.encoder, p, v if self.image_statistics else None)  # N×9×F
        g = self.patch_head(f.flatten(0, 1)).view(n, -1)  # N×9G
        logits = self.classifier(g)  # N×K
        return {"loss": cross_entropy(logits, k), "top1_percent": top1_percent(logits, k)}
