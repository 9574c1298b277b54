"""Hard contrastive loss: InfoNCE with nothing but the hardest negatives of each anchor.

Claim:     with hard negatives picked explicitly, a large temperature works, too: hardness is what a small one is for.
Paper:     Wang and Liu, "Understanding the Behaviour of Contrastive Loss" (CVPR 2021), L_hard.
Equation:  loss = mean over both views and all images of −log e^{s⁺/τ} / (e^{s⁺/τ} + Σ e^{s⁻/τ}), the sum over negatives
           with s⁻ ≥ s_α, the upper quantile α of that anchor's 2N − 2 negatives (of all ranks), without gradient.
           With C small crops: (loss + Σ_c ℓ_c) / (1 + C); ℓ_c has the crop as the anchor, either global view of the
           same image as the positive (a mean over both), and the 2N − 2 global views of other images as negatives.
Reference: none public.
Departs from it: two views and a batch, where the paper has a memory of all images and chooses α for each data set;
           hard_share = 0.1 is our choice, and at least one negative is kept. The paper has no small crops; they are
           SwAV's (Caron et al., NeurIPS 2020).
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from bench.data.views import LOCAL_CROPS, SIMCLR_VIEWS, Batch, View
from bench.losses.contrast_by_name import Contrast
from bench.losses.mean_over_crops import with_crops
from bench.losses.pairs import crop_pairs, hard, two_view_pairs
from bench.nn.collectives import gather, own_rows
from bench.nn.encoder import Encoder
from bench.nn.heads import PROJECTORS, simclr_projector
from bench.nn.multi_crop import by_resolution, check_crops, check_smaller
from bench.objectives.base import Objective
from bench.settings import Count, CropSize, Portion, Positive, Whole


class HardContrastive(Objective):
    """Hard contrastive loss: InfoNCE with the hardest negatives of each anchor."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: Positive = 0.3,
        hard_share: Portion = 0.1,
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
        self.settings = Contrast("hard", temperature, hard_share=hard_share)
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
        tau, share = self.settings.temperature, self.settings.hard_share
        loss = hard(two_view_pairs(z1, z2, own), tau, share)
        return with_crops(loss, [hard(crop_pairs(c, z1, z2, own), tau, share) for c in crops])

    def _project(self, images: Tensor) -> Tensor:
        """g(f(v)): n×3×H×W -> n×D."""
        return self.projector(self.encoder(images))
