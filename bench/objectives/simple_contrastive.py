"""Simple contrastive loss: all negatives are pushed away alike, hard or easy.

Claim:     no gain: it is the control that shows what InfoNCE's softmax is worth. About 74.8 % on CIFAR-10 and 39.3 % on
           CIFAR-100 (linear), where InfoNCE at its best temperature has about 83.3 and 56.4 (from memory of the paper).
Paper:     Wang and Liu, "Understanding the Behaviour of Contrastive Loss" (CVPR 2021), L_simple.
Equation:  loss = mean over both views and all images of −s_i⁺ + λ·mean s⁻ over the 2N − 2 views of other images, of all
           ranks; s = cosine of projections. Up to scale, InfoNCE as τ → ∞ (for λ = 1). There is no temperature.
           With hard_share < 1 the mean is over that share of the anchor's hardest negatives.
Reference: none public.
Departs from it: two views and a batch, where the paper has a memory of all images; λ is of the mean over negatives,
           there of their sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.views import SIMCLR_VIEWS, Batch, View
from bench.losses.hardness import simple
from bench.losses.pairs import two_view_pairs
from bench.losses.slot import Contrast
from bench.nn.collectives import gather, own_rows
from bench.nn.encoder import Encoder
from bench.nn.heads import simclr_projector
from bench.objectives.base import Objective


class SimpleContrastive(Objective):
    """Simple contrastive loss: the softmax over negatives replaced by their mean."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        negative_weight: float = 1.0,
        hard_share: float = 1.0,
        projector: str = "mlp",
        projector_layers: int = 2,
        projector_rank: int = 360,
        hidden_dim: int = 2048,
        projection_dim: int = 128,
    ) -> None:
        super().__init__(encoder)
        self.settings = Contrast("simple", negative_weight=negative_weight, hard_share=hard_share)
        sizes = {"layers": projector_layers, "hidden_dim": hidden_dim, "projection_dim": projection_dim}
        self.projector = simclr_projector(encoder, projector, rank=projector_rank, **sizes)

    def views(self, size: int) -> tuple[View, ...]:
        """The two views of SimCLR."""
        return SIMCLR_VIEWS(size)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch without negatives."""
        del view_size
        self.settings.check_batch(batch_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        n, both = len(batch.views[0]), torch.cat(batch.views)  # 2n×3×H×W, in one forward
        z1, z2 = (gather(z) for z in self.projector(self.encoder(both)).split(n))  # N×D, all ranks'
        found = two_view_pairs(z1, z2, own_rows(n))
        return {"loss": simple(found, self.settings.negative_weight, self.settings.hard_share)}
