"""DCL: SimCLR without the positive in the denominator, so that few negatives do.

Claim:     about 65.9 % ImageNet linear top-1 against SimCLR's 61.8 % (from memory of the paper: ResNet-50, batch 256,
           200 epochs).
Paper:     Yeh et al., "Decoupled Contrastive Learning" (ECCV 2022).
Equation:  loss = mean over both views and all images of −s_i⁺/τ + log Σ e^{s/τ}, the sum over the 2N − 2 views of
           other images, of all ranks; s = cosine of projections z = g(f(v)). It can be negative.
Reference: raminnakhli/Decoupled-Contrastive-Learning; there one direction, and the caller normalises.
Departs from it: both directions, as the paper has it; with gradient accumulation negatives are the micro-batch's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.views import SIMCLR_VIEWS, Batch, View
from bench.losses.decoupled import decoupled
from bench.losses.pairs import two_view_pairs
from bench.losses.slot import Contrast
from bench.nn.collectives import gather, own_rows
from bench.nn.encoder import Encoder
from bench.nn.heads import simclr_projector
from bench.objectives.base import Objective


class DCL(Objective):
    """DCL: SimCLR's loss decoupled from its positive."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: float = 0.1,
        projector: str = "mlp",
        projector_layers: int = 2,
        projector_rank: int = 360,
        hidden_dim: int = 2048,
        projection_dim: int = 128,
    ) -> None:
        super().__init__(encoder)
        self.settings = Contrast("dcl", temperature)
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
        return {"loss": decoupled(found, self.settings.temperature)}
