"""Simple contrastive loss: all negatives are pushed away alike, hard or easy.

Claim:     no gain: it is the control that shows what InfoNCE's softmax is worth. About 74.8 % on CIFAR-10 and 39.3 % on
           CIFAR-100 (linear), where InfoNCE at its best temperature has about 83.3 and 56.4 (from memory of the paper).
Paper:     Wang and Liu, "Understanding the Behaviour of Contrastive Loss" (CVPR 2021), L_simple.
Equation:  loss = mean over both views and all images of −s_i⁺ + λ·mean s⁻ over the 2N − 2 views of other images, of all
           ranks; s = cosine of projections. Up to scale, InfoNCE as τ → ∞ (for λ = 1). There is no temperature.
           With hard_share < 1 the mean is over that share of the anchor's hardest negatives.
           With C small crops: (loss + Σ_c ℓ_c) / (1 + C); ℓ_c has the crop as the anchor, either global view of the
           same image as the positive (a mean over both), and the 2N − 2 global views of other images as negatives.
Reference: none public.
Departs from it: two views and a batch, where the paper has a memory of all images; λ is of the mean over negatives,
           there of their sum. The paper has no small crops; they are SwAV's (Caron et al., NeurIPS 2020).
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from bench.data.views import LOCAL_CROPS, SIMCLR_VIEWS, Batch, View
from bench.losses.contrast_by_name import Contrast
from bench.losses.mean_over_crops import with_crops
from bench.losses.pairs import crop_pairs, simple, two_view_pairs
from bench.nn.collectives import gather, own_rows
from bench.nn.encoder import Encoder
from bench.nn.heads import PROJECTORS, simclr_projector
from bench.nn.multi_crop import by_resolution, check_crops, check_smaller
from bench.objectives.base import Objective
from bench.settings import Count, CropSize, Portion, Weight, Whole


class SimpleContrastive(Objective):
    """Simple contrastive loss: the softmax over negatives replaced by their mean."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        negative_weight: Weight = 1.0,
        hard_share: Portion = 1.0,
        projector: Annotated[str, PROJECTORS] = "mlp",
        projector_layers: Count = 2,
        projector_rank: int = 360,
        hidden_dim: Count = 2048,
        projection_dim: Count = 128,
        crops: Whole = 0,
        crop_size: CropSize = 96,
        crop_scale: tuple[float, float] = (0.05, 0.14),
    ) -> None:
        super().__init__(encoder)
        check_crops(crops, crop_size, crop_scale)
        self.settings = Contrast("simple", negative_weight=negative_weight, hard_share=hard_share)
        sizes = {"layers": projector_layers, "hidden_dim": hidden_dim, "projection_dim": projection_dim}
        self.projector = simclr_projector(encoder, projector, rank=projector_rank, **sizes)
        self.crops, self.crop_size = crops, crop_size
        self.crop_scale = (float(crop_scale[0]), float(crop_scale[1]))

    def views(self, size: int) -> tuple[View, ...]:
        """The two views of SimCLR, and small crops that are drawn alike."""
        pair = SIMCLR_VIEWS(size)
        return (*pair, *LOCAL_CROPS(pair[0], self.crops, self.crop_size, self.crop_scale))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch without negatives, and crops that are not smaller than the views."""
        self.settings.check_batch(batch_size)
        check_smaller(self.crops, self.crop_size, view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, and with small crops loss_global and loss_crops (its mean over crops)."""
        # Two views n×3×H×W, in one forward; C crops n×3×h×w, in another.
        z1, z2, *crops = (gather(z) for z in by_resolution(self._project, batch.views))  # N×D, all ranks'
        own = own_rows(len(batch.views[0]))
        weight, share = self.settings.negative_weight, self.settings.hard_share
        loss = simple(two_view_pairs(z1, z2, own), weight, share)
        return with_crops(loss, [simple(crop_pairs(c, z1, z2, own), weight, share) for c in crops])

    def _project(self, images: Tensor) -> Tensor:
        """g(f(v)): n×3×H×W -> n×D."""
        return self.projector(self.encoder(images))
