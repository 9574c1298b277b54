"""Contrastive loss of 2006: pull two views of an image together, push other images out of a margin.

Claim:     none on ImageNet; the paper maps digits and NORB.
Paper:     Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping" (CVPR 2006), eq. 4.
Equation:  L(Y, x₁, x₂) = (1 − Y)·½·D² + Y·½·max(0, m − D)², D = ‖G(x₁) − G(x₂)‖₂, Y = 0 for similar pairs, else 1.
           loss = the mean over similar pairs (two views of an image) + the mean over dissimilar ones (views of two
           images of the batch, on all ranks).
           With C small crops both means are over more pairs of views, (s₁₂ + Σ_c ½·[s_c1 + s_c2]) / (1 + C): a crop is
           similar to both views of its image and dissimilar to those of others; two crops are never a pair.
Reference: none by the authors.
Departs from it: similar are views, not neighbours that were given; both kinds of pairs weigh the same, however many
           there are; G is a ResNet and a linear layer. `normalise` puts embeddings on the unit sphere (there: not).
           It has no small crops; they are SwAV's (Caron et al., NeurIPS 2020).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.config.setting_types import Count, Positive
from bench.data.views import MOCO_V2_VIEWS, Batch
from bench.losses.float32 import at_least_float32
from bench.losses.pairwise import distances, same_image
from bench.nn.collectives import gather, rank
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.small_crops import SmallCrops


@at_least_float32
def similar(x: Tensor, y: Tensor) -> Tensor:
    """Return ½·D² of similar pairs, a mean over rows: n×D, n×D -> scalar."""
    return 0.5 * (x - y).square().sum(1).mean()


@at_least_float32
def dissimilar(x: Tensor, y: Tensor, margin: float, first: int = 0) -> Tensor:
    """Return ½·max(0, m − D)² of dissimilar pairs, a mean over all (i, j) of different images: n×D, N×D -> scalar.

    Args:
        x: n×D, this rank's rows.
        y: N×D, all ranks' rows of the other view.
        margin: m, beyond which a pair has no part in the loss.
        first: the row of y that belongs to the first row of x.
    """
    short = (margin - distances(x, y)).clamp(min=0.0).masked_fill(same_image(x, y, first), 0.0)
    return 0.5 * short.square().sum() / (len(x) * (len(y) - 1))


class Contrastive2006(SmallCrops):
    """Contrastive loss of 2006: pull two views of an image together, push other images out of a margin."""

    needs_several_for = "dissimilar pairs, which are of different images"
    full_views = staticmethod(MOCO_V2_VIEWS)
    later: ClassVar[tuple[str, ...]] = ("crops", "crop_size", "crop_scale")

    def __init__(
        self,
        encoder: Encoder,
        *,
        margin: Positive = 1.0,
        dim: Count = 128,
        normalise: bool = False,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, dim))
        self.margin, self.normalise = margin, normalise

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, similar, dissimilar."""
        v1, v2, *crops = batch.views  # N×3×H×W, C crops N×3×h×w
        g1, g2 = self._embed(v1), self._embed(v2)  # N×D
        small = by_resolution(self._embed, crops)  # C of N×D, in one forward
        y1, y2 = gather(g1), gather(g2)  # of all ranks
        first, m = rank() * len(g1), self.margin
        near, far = [similar(g1, g2)], [dissimilar(g1, y2, m, first)]
        near += [0.5 * (similar(c, g1) + similar(c, g2)) for c in small]
        far += [0.5 * (dissimilar(c, y1, m, first) + dissimilar(c, y2, m, first)) for c in small]
        s, d = torch.stack(near).mean(), torch.stack(far).mean()
        return {"loss": s + d, "similar": s.detach(), "dissimilar": d.detach()}

    def _embed(self, images: Tensor) -> Tensor:
        """G(v), normalised if so set: N×3×H×W -> N×D."""
        g = self.projector(self.encoder(images))
        return F.normalize(g, dim=1) if self.normalise else g
