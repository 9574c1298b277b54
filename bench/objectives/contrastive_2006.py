"""Contrastive loss of 2006: pull two views of an image together, push other images out of a margin.

Claim:     none on ImageNet; the paper maps digits and NORB.
Paper:     Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping" (CVPR 2006), eq. 4.
Equation:  L(Y, x₁, x₂) = (1 − Y)·½·D² + Y·½·max(0, m − D)², D = ‖G(x₁) − G(x₂)‖₂, Y = 0 for similar pairs, else 1.
           loss = the mean over similar pairs (two views of an image) + the mean over dissimilar ones (views of two
           images of the batch, on all ranks).
Reference: none by the authors.
Departs from it: similar are views, not neighbours that were given; both kinds of pairs weigh the same, however many
           there are; G is a ResNet and a linear layer. `normalise` puts embeddings on the unit sphere (there: not).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bench.data.views import MOCO_V2_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.pairwise import dissimilar, similar
from bench.nn.collectives import gather, rank
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.seeding import seeded
from bench.objectives.base import Objective


class Contrastive2006(Objective):
    """Contrastive loss of 2006: pull two views of an image together, push other images out of a margin."""

    def __init__(self, encoder: Encoder, *, margin: float = 1.0, dim: int = 128, normalise: bool = False) -> None:
        super().__init__(encoder)
        if margin <= 0:
            raise BadInput(f"objective.margin is {margin}; set it above 0.")
        if dim < 1:
            raise BadInput(f"objective.dim is {dim}; set it to 1 or more.")
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, dim))
        self.margin, self.normalise = margin, normalise

    def views(self, size: int) -> tuple[View, ...]:
        """Two views, as MoCo v2 has them."""
        return MOCO_V2_VIEWS(size)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch without dissimilar pairs."""
        del view_size
        if batch_size < 2:
            raise BadInput(f"batch_size / accumulate is {batch_size}: no dissimilar pairs; set it to 2 or more.")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, similar, dissimilar."""
        g1, g2 = (self.projector(self.encoder(v)) for v in batch.views)  # N×D
        if self.normalise:
            g1, g2 = F.normalize(g1, dim=1), F.normalize(g2, dim=1)
        near = similar(g1, g2)
        far = dissimilar(g1, gather(g2), self.margin, rank() * len(g1))
        return {"loss": near + far, "similar": near.detach(), "dissimilar": far.detach()}
