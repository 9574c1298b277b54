"""What SimCLR and its variants share: two views of each image, small crops as further anchors, one projector.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (ICML 2020); projectors: Jing et
al., "Understanding Dimensional Collapse" (ICLR 2022). A variant says what its loss of pairs is.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bench.config.setting_types import Count
from bench.data.views import SIMCLR_VIEWS, Batch
from bench.losses.mean_over_crops import with_crops
from bench.losses.pairs import Pairs, crop_pairs, two_view_pairs
from bench.nn.collectives import gather, rank_rows
from bench.nn.encoder import Encoder
from bench.nn.heads import Projector, simclr_projector
from bench.nn.multi_crop import by_resolution
from bench.objectives.small_crops import SmallCrops


class TwoViewContrast(SmallCrops):
    """A contrastive loss of two projected views of each image, and of small crops with either view."""

    needs_several_for = "negatives, which are other images"
    full_views = staticmethod(SIMCLR_VIEWS)
    crops_apart = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector: Projector = "mlp",
        projector_layers: Count = 2,
        projector_rank: int = 360,
        hidden_dim: Count = 2048,
        projection_dim: Count = 128,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        self.projector = simclr_projector(
            encoder,
            projector,
            layers=projector_layers,
            hidden_dim=hidden_dim,
            projection_dim=projection_dim,
            rank=projector_rank,
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, and with small crops loss_global and loss_crops (its mean over crops)."""
        # Two views n×3×H×W, in one forward: batch norm sees them together; C crops n×3×h×w, in another.
        project = nn.Sequential(self.encoder, self.projector)
        z1, z2, *crops = (gather(z) for z in by_resolution(project, batch.views))  # N×D, all ranks'
        rows = rank_rows(len(batch.views[0]))
        return with_crops(self.loss_of_views(z1, z2, rows), [self.loss_of_crop(c, z1, z2, rows) for c in crops])

    def loss_of_views(self, z1: Tensor, z2: Tensor, rows: slice) -> Tensor:
        """Return the loss with both views as anchors: N×D each, all ranks' rows; `rows` are those of this rank."""
        return self.loss_of_pairs(two_view_pairs(z1, z2, rows))

    def loss_of_crop(self, c: Tensor, z1: Tensor, z2: Tensor, rows: slice) -> Tensor:
        """Return ℓ_c, the loss with a small crop of each image as the anchor: N×D each."""
        return self.loss_of_pairs(crop_pairs(c, z1, z2, rows))

    def loss_of_pairs(self, pairs: Pairs) -> Tensor:
        """Return the loss of anchors with their positives and negatives, a mean over anchors."""
        raise NotImplementedError
