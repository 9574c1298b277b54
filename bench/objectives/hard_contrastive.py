"""Hard contrastive loss: InfoNCE with nothing but the hardest negatives of each anchor.

Claim:     with hard negatives picked explicitly, a large temperature works, too: hardness is what a small one is for.
Paper:     Wang and Liu, "Understanding the Behaviour of Contrastive Loss" (CVPR 2021), L_hard.
Equation:  loss = mean over both views and all images of −log e^{s⁺/τ} / (e^{s⁺/τ} + Σ e^{s⁻/τ}), the sum over negatives
           with s⁻ ≥ s_α, the upper quantile α of that anchor's 2N − 2 negatives (of all ranks), without gradient.
Reference: none public.
Departs from it: two views and a batch, where the paper has a memory of all images and chooses α for each data set;
           hard_share = 0.1 is our choice, and at least one negative is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.views import SIMCLR_VIEWS, Batch, View
from bench.losses.hardness import hard
from bench.losses.pairs import two_view_pairs
from bench.losses.slot import Contrast
from bench.nn.collectives import gather, own_rows
from bench.nn.encoder import Encoder
from bench.nn.heads import simclr_projector
from bench.objectives.base import Objective


class HardContrastive(Objective):
    """Hard contrastive loss: InfoNCE with the hardest negatives of each anchor."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: float = 0.3,
        hard_share: float = 0.1,
        projector: str = "mlp",
        projector_layers: int = 2,
        projector_rank: int = 360,
        hidden_dim: int = 2048,
        projection_dim: int = 128,
    ) -> None:
        super().__init__(encoder)
        self.settings = Contrast("hard", temperature, hard_share=hard_share)
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
        return {"loss": hard(found, self.settings.temperature, self.settings.hard_share)}
