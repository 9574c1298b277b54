"""Jigsaw puzzles: in which order are the nine patches of an image?

Claim:     46.73 % ImageNet top-1 with ResNet-50 and 2,000 permutations (VISSL's model zoo, the best of linear
           classifiers on pooled maps: `imagenet_jigsaw`, whose linear evaluation of pooled C5 is another protocol).
Paper:     Noroozi and Favaro, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles" (ECCV 2016).
Equation:  loss = −(1/N)·Σ_i log softmax(h([g(f(p_i,σ(1))), …, g(f(p_i,σ(9)))]))_k, σ = σ_k(i) drawn from K permutations
           that are far from each other.
Reference: facebookresearch/vissl, configs/config/pretrain/jigsaw/jigsaw_8gpu_resnet.yaml: g = linear, batch norm, ReLU
           to 1000; h = linear to K; grey images (not patches), mirrored, squares of 255 of 256 pixels, patches of 64
           moved within cells of 85.
Departs from it: tiles as in the paper (64 pixels in cells of 75 of a square of 225 of 256, each normalised by itself,
           30 % of images grey, all from memory of the paper; its jitter of colour channels is left out) unless set
           otherwise; one permutation of each image in a batch; permutations are chosen by their least distance
           first, the sum second (there: by the mean). h's bias does not decay (there it does). Running statistics of
           batch norms are those of whole images (an extra forward without gradient) unless `image_statistics` is off.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from bench.config.setting_types import Count, Portion, Share, Whole
from bench.data.views import SQUARE_VIEW, Batch, View
from bench.losses.classification import classified
from bench.nn import draws
from bench.nn.encoder import Encoder
from bench.nn.patches import Grid, each_patch, features_of
from bench.nn.seeding import seeded
from bench.objectives.base import Objective


def far_permutations(count: int, places: int = 9) -> Tensor:
    """Return count×places int64: permutations of 0 … places−1 far from each other, in the order of their choice.

    As in section 4.1 and algorithm 1 of the paper: each is, of all that are left, the farthest from those chosen. The
    first is the identity (there: any; another only renames the places). What counts is the least Hamming distance to
    those chosen; among equals the sum of distances (algorithm 1 has the sum alone, by which two may differ in two
    places only), then the lexicographic order. So the first m of any count are the same.

    Raises ValueError for more than there are.
    """
    if not 1 <= count <= math.factorial(places):
        raise ValueError(f"there are {math.factorial(places)} permutations of {places} places, not {count}")
    return torch.from_numpy(_chosen(count, places))


@cache
def _chosen(count: int, places: int) -> np.ndarray:
    everything = np.zeros((1, 1), dtype=np.int8)  # places×(places)!, lexicographic
    for k in range(2, places + 1):
        parts = [np.vstack([np.full((1, everything.shape[1]), i), everything + (everything >= i)]) for i in range(k)]
        everything = np.concatenate(parts, axis=1).astype(np.int8)
    nearest = np.full(everything.shape[1], places, dtype=np.int64)
    total = np.zeros_like(nearest)
    chosen = [0]
    while len(chosen) < count:
        distance = np.zeros(everything.shape[1], dtype=np.int8)
        for place in everything:
            distance += place != place[chosen[-1]]
        np.minimum(nearest, distance, out=nearest)  # 0 for those chosen: they are never chosen again
        total += distance
        chosen.append(int(np.argmax(nearest * (count * places + 1) + total)))
    return everything[:, chosen].T.astype(np.int64)


def standardised(patches: Tensor) -> Tensor:
    """Give every channel of every patch mean 0 and standard deviation 1 over its pixels; a flat one becomes 0.

    Args:
        patches: …×s×s.
    """
    centred = patches - patches.mean(dim=(-2, -1), keepdim=True)
    spread = centred.square().mean(dim=(-2, -1), keepdim=True).sqrt()
    return torch.where(spread > 1e-4, centred / spread.clamp(min=1e-4), 0.0)


def in_order(patches: Tensor, orders: Tensor) -> Tensor:
    """Return the patches N×P×… of each image in its order N×P: place j holds patch orders[i, j]."""
    return patches[torch.arange(len(patches), device=patches.device)[:, None], orders]


class Jigsaw(Objective):
    """Jigsaw puzzles: by which of K permutations the nine patches of an image were shuffled."""

    definition: ClassVar[int] = 2  # grey images and not patches, another crop

    norm_groups: ClassVar[bool] = True

    orders: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        crop: Portion = 0.8789,  # side of the square, as a share of the image's shorter one: 225 of 256 pixels
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
        self.crop, self.grey, self.standardise, self.image_statistics = crop, grey, standardise, image_statistics
        self.register_buffer("orders", far_permutations(permutations))  # K×9
        with seeded(encoder.seed, "jigsaw heads"):
            self.patch_head = nn.Sequential(
                nn.Linear(encoder.feature_dim, patch_dim, bias=False), nn.BatchNorm1d(patch_dim), nn.ReLU(inplace=True)
            )
            self.classifier = nn.Linear(9 * patch_dim, permutations)

    def views(self, size: int) -> tuple[View, ...]:
        """One square, from which the patches are cut."""
        return (SQUARE_VIEW(size, self.crop, self.grey),)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse views that are too small for the grid."""
        self.grid.check(view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, top1_percent (100/K by chance)."""
        (v,) = batch.views  # N×3×H×H
        n = len(v)
        k = draws.integers(n, high=len(self.orders), device=v.device)  # N
        p = in_order(self.grid.cut(v), self.orders[k])  # N×9×3×s×s, shuffled
        if self.standardise:
            p = standardised(p)
        f = features_of(self.encoder, p, v if self.image_statistics else None)  # N×9×F
        g = each_patch(self.patch_head, f).flatten(1)  # N×9G
        logits = self.classifier(g)  # N×K
        return classified(logits, k)
