"""Triplet loss: another view of an image must be nearer than another image, by a margin.

Claim:     none on ImageNet; the paper recognises faces.
Paper:     Schroff et al., "FaceNet" (CVPR 2015), eq. 2 and section 3.2 (semi-hard negatives).
Equation:  loss = max(0, d(x, x⁺) − d(x, x⁻) + α), d = ‖n(x) − n(y)‖², α = 0.2, a mean over anchors of both views;
           x⁺ is the other view, x⁻ the other view of another image of the batch (on all ranks): the nearest that is
           farther than x⁺, or where there is none the farthest (`mining="semi_hard"`), or each of them (`all`).
           `squared=False` takes the distance itself, as torch.nn.TripletMarginLoss does.
Reference: none by the authors.
Departs from it: positives are views, not other photographs; negatives come from the whole batch.
Note:      a value that stays at α says that x⁻ cannot be told from x⁺: a collapse.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bench.data.views import MOCO_V2_VIEWS, Batch, View
from bench.errors import BadInput, nearest
from bench.losses.pairwise import triplet
from bench.nn.collectives import gather, rank
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.seeding import seeded
from bench.objectives.base import Objective

MINING = ("semi_hard", "all")


class Triplet(Objective):
    """Triplet loss: another view of an image must be nearer than another image, by a margin."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        margin: float = 0.2,
        squared: bool = True,
        mining: str = "semi_hard",
        dim: int = 128,
    ) -> None:
        super().__init__(encoder)
        if margin <= 0:
            raise BadInput(f"objective.margin is {margin}; set it above 0.")
        if dim < 1:
            raise BadInput(f"objective.dim is {dim}; set it to 1 or more.")
        if mining not in MINING:
            hint = nearest(mining, MINING) or f"; set it to one of {', '.join(MINING)}."
            raise BadInput(f"Unknown objective.mining {mining!r}{hint}")
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, dim))
        self.margin, self.squared, self.mining = margin, squared, mining

    def views(self, size: int) -> tuple[View, ...]:
        """Two views, as MoCo v2 has them."""
        return MOCO_V2_VIEWS(size)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch without negatives."""
        del view_size
        if batch_size < 2:
            raise BadInput(f"batch_size / accumulate is {batch_size}, which leaves no negatives; set it to 2 or more.")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        x, y = (F.normalize(self.projector(self.encoder(v)), dim=1) for v in batch.views)  # N×D
        first = rank() * len(x)
        one = triplet(x, gather(y), self.margin, self.squared, self.mining, first)
        other = triplet(y, gather(x), self.margin, self.squared, self.mining, first)
        return {"loss": 0.5 * (one + other)}
