"""Triplet loss: another view of an image must be nearer than another image, by a margin.

Claim:     none on ImageNet; the paper recognises faces.
Paper:     Schroff et al., "FaceNet" (CVPR 2015), eq. 2 and section 3.2 (semi-hard negatives).
Equation:  loss = max(0, d(x, x⁺) − d(x, x⁻) + α), d = ‖n(x) − n(y)‖², α = 0.2, a mean over anchors of both views;
           x⁺ is the other view, x⁻ the other view of another image of the batch (on all ranks): the nearest that is
           farther than x⁺, or where there is none the farthest (`mining="semi_hard"`), or each of them (`all`).
           `squared=False` takes the distance itself, as torch.nn.TripletMarginLoss does.
           Small crops are further anchors: the mean over the 2 + 2·C pairs of an anchor and a full view.
Reference: none by the authors.
Departs from it: positives are views, not other photographs; negatives come from the whole batch. The paper has
           no small crops; they are SwAV's (Caron et al., NeurIPS 2020), and never x⁺ or x⁻.
Note:      a value that stays at α says that x⁻ cannot be told from x⁺: a collapse.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.config.setting_types import Count, Positive
from bench.data.views import MOCO_V2_VIEWS, Batch
from bench.losses.pairwise import triplet
from bench.nn.collectives import gather, rank
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.small_crops import SmallCrops

Mining = Literal["semi_hard", "all"]


class Triplet(SmallCrops):
    """Triplet loss: another view of an image must be nearer than another image, by a margin."""

    needs_several_for = "negatives, which are other images"
    full_views = staticmethod(MOCO_V2_VIEWS)

    def __init__(
        self,
        encoder: Encoder,
        *,
        margin: Positive = 0.2,
        squared: bool = True,
        mining: Mining = "semi_hard",
        dim: Count = 128,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, dim))
        self.margin, self.squared, self.mining = margin, squared, mining

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        v1, v2, *crops = batch.views  # N×3×H×W, C crops N×3×h×w
        x, y = self._embed(v1), self._embed(v2)  # N×D
        small = by_resolution(self._embed, crops)  # C of N×D, in one forward
        others_x, others_y = gather(x), gather(y)  # of all ranks
        pairs = [(x, others_y), (y, others_x), *((c, z) for c in small for z in (others_x, others_y))]
        first = rank() * len(x)
        losses = [triplet(a, z, self.margin, self.squared, self.mining, first) for a, z in pairs]
        return {"loss": torch.stack(losses).mean()}

    def _embed(self, images: Tensor) -> Tensor:
        """n(g(f(v))): N×3×H×W -> N×D."""
        return F.normalize(self.projector(self.encoder(images)), dim=1)
