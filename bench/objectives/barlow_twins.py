"""Barlow Twins: two views' embeddings agree in each dimension, and no dimension repeats another.

Claim:     73.5 % ImageNet linear top-1 with ResNet-50 (1000 epochs, batch 2048; the command of the reference's README);
           73.2 % in the paper, from memory.
Paper:     Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction" (ICML 2021), eq. 1 and 2.
Equation:  loss = Σ_i (1 − C_ii)² + λ·Σ_{i≠j} C_ij²; C is the cross-correlation over the whole batch of the projections
           of both views, D×D.
           With C small crops: (loss + Σ_c ℓ_c) / (1 + C), ℓ_c the mean of the crop's loss with either full view; each
           of these pairs has a C of its own.
Reference: facebookresearch/barlowtwins, main.py.
Departs from it: projections are gathered and standardised by every rank (there: SyncBN, and a sum of D×D matrices over
           ranks): the same C. There the sum is outside of autograd (main.py:215-216), so that with DDP's mean over W
           GPUs the gradient is 1/W of the loss's; here it is so with `gradient_ranks=W`. LARS evens that out for
           weights but for their decay, and not for biases and norms. The README's command ran on 16 GPUs, the paper's
           training on 32. With gradient accumulation C is over the micro-batch (of all ranks). The paper has no small
           crops, and defines C for two views; crops are SwAV's (Caron et al., NeurIPS 2020), and no two of them are
           compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.config.setting_types import Count, Weight
from bench.data.views import BYOL_VIEWS, Batch, View
from bench.losses.float32 import at_least_float32
from bench.nn.collectives import gather
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.base import ParamGroup
from bench.objectives.small_crops import SmallCrops


@at_least_float32
def cross_correlation(z1: Tensor, z2: Tensor, eps: float = 1e-5) -> Tensor:
    """Return C_ij, the correlation over images of dimension i of one view and j of the other: N×D, N×D -> D×D.

    Each dimension is centred and divided by √(its biased variance + ε), as a batch norm without affine does. z1 and z2
    must hold all ranks' rows: a mean of each rank's correlations is not that of the batch. Raises ValueError when the
    shapes differ, and for fewer than two rows.
    """
    if z1.shape != z2.shape or z1.dim() != 2 or len(z1) < 2:
        raise ValueError(f"a cross-correlation needs two N×D with N ≥ 2, got {tuple(z1.shape)} and {tuple(z2.shape)}")
    a, b = ((z - z.mean(dim=0)) * torch.rsqrt(z.var(dim=0, correction=0) + eps) for z in (z1, z2))  # N×D
    return a.T @ b / len(z1)


@at_least_float32
def to_identity(c: Tensor) -> Tensor:
    """Return Σ_i (1 − C_ii)² and Σ_{i≠j} C_ij² of D×D: what is not invariant, and what is redundant. Of shape 2."""
    diagonal = torch.eye(len(c), dtype=torch.bool, device=c.device)
    return torch.stack([(1.0 - c.diagonal()).square().sum(), c.square().masked_fill(diagonal, 0.0).sum()])


def view_terms(z1: Tensor, z2: Tensor, crops: Sequence[Tensor]) -> Tensor:
    """Return both parts of `to_identity` (shape 2) for two full views' embeddings and C small crops', N×D each.

    (terms + Σ_c terms_c) / (1 + C), terms_c the mean over the crop's two pairs, with either full view: the mean over
    all ordered pairs of a full view and another view, of which no pair has two crops. Each pair costs a matrix D×D. All
    ranks' rows.
    """
    terms = to_identity(cross_correlation(z1, z2))
    if not crops:
        return terms
    small = torch.stack([to_identity(cross_correlation(c, z)) for c in crops for z in (z1, z2)]).mean(0)
    return (terms + len(crops) * small) / (1 + len(crops))


class BarlowTwins(SmallCrops):
    """Barlow Twins: the cross-correlation of two views' embeddings is pulled to the identity."""

    needs_several_for = "correlations over the images of a batch"
    full_views = staticmethod(BYOL_VIEWS)
    crops_like = View()
    later: ClassVar[tuple[str, ...]] = ("gradient_ranks",)

    def __init__(
        self,
        encoder: Encoder,
        *,
        projection_dim: Count = 8192,
        weight: Weight = 0.0051,  # λ
        bias_rate: Weight = 0.024,  # of biases and norms, times that of weights: 0.0048 / 0.2 (main.py:33-36)
        gradient_ranks: Count = 1,  # by which the gradient is divided, as by the reference's on so many GPUs
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, *[projection_dim] * 3), bias=False)
        self.weight, self.bias_rate, self.gradient_ranks = weight, bias_rate, gradient_ranks

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, invariance, redundancy (before its weight λ)."""
        v1, v2, *crops = batch.views  # N×3×H×W, K crops N×3×h×w
        project = nn.Sequential(self.encoder, self.projector)
        z1, z2 = project(v1), project(v2)  # N×D; each view by itself, with its own batch statistics
        small = by_resolution(project, crops)  # K of N×D, in one forward
        invariance, redundancy = view_terms(gather(z1), gather(z2), [gather(z) for z in small])  # all ranks' rows
        loss = invariance + self.weight * redundancy
        if self.gradient_ranks > 1 and loss.requires_grad:
            loss.register_hook(lambda gradient: gradient / self.gradient_ranks)
        return {"loss": loss, "invariance": invariance.detach(), "redundancy": redundancy.detach()}

    def param_groups(self) -> list[ParamGroup]:
        """As everywhere, biases and norms at a rate of their own."""
        weights, rest = super().param_groups()
        rest["rate"] = self.bias_rate
        return [weights, rest]
