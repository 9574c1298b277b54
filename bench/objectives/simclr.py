"""SimCLR: recognise the other view of an image among all other images of the batch.

Claim:     about 69.3 % ImageNet linear top-1 with ResNet-50 (1000 epochs, batch 4096), about 64.5 % after 100 epochs.
Paper:     Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (ICML 2020), eq. 1;
           small crops: Caron et al., SwAV (NeurIPS 2020); projectors: Jing et al. (ICLR 2022).
Equation:  ℓ_ij = −log e^{s_ij/τ} / Σ_{k≠i} e^{s_ik/τ} over the 2N rows of both views, s = cosine, z = g(f(v));
           loss = the mean of ℓ over all 2N rows with their other view, negatives from all ranks with gradient.
           With C small crops: (loss + Σ_c ℓ_c) / (1 + C); ℓ_c has the crop as the anchor, a global view of the same
           image as the positive (a mean over both), and the 2N − 2 global views of other images as negatives.
           Other losses stand in this one's place by name: see `bench/losses/contrast_by_name.py`.
Reference: google-research/simclr. Its loss is the sum of the two views' means: twice this value, which is the paper's.
Departs from it: with gradient accumulation a batch's negatives are those of the micro-batch; SimCLR has no small crops.
           A crop is never a positive or a negative.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from bench.data.views import LOCAL_CROPS, SIMCLR_VIEWS, Batch, View
from bench.errors import BadInput
from bench.losses.contrast_by_name import VIEWS, Contrast
from bench.losses.mean_over_crops import with_crops
from bench.nn.collectives import gather, own_rows
from bench.nn.encoder import Encoder
from bench.nn.heads import PROJECTORS, simclr_projector
from bench.nn.multi_crop import by_resolution, check_crops, check_smaller
from bench.objectives.base import Objective
from bench.settings import Count, CropSize, Portion, Positive, Weight, Whole


class SimCLR(Objective):
    """SimCLR: each view of an image finds the other among all other images, by a softmax over cosines."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        loss: Annotated[str, VIEWS] = "nt_xent",
        temperature: Positive = 0.1,
        projector: Annotated[str, PROJECTORS] = "mlp",
        projector_layers: Count = 2,
        projector_rank: int = 360,
        hidden_dim: Count = 2048,
        projection_dim: Count = 128,
        jitter_strength: Weight = 1.0,
        crops: Whole = 0,
        crop_size: CropSize = 96,
        crop_scale: tuple[float, float] = (0.05, 0.14),
        sigma: Positive = 0.5,
        negative_weight: Weight = 1.0,
        hard_share: Portion = 0.1,
        align_weight: Weight = 1.0,
        uniform_weight: Weight = 1.0,
        t: Positive = 2.0,
    ) -> None:
        super().__init__(encoder)
        weights = {"align_weight": align_weight, "uniform_weight": uniform_weight, "t": t}
        self.contrast = Contrast(loss, temperature, sigma, negative_weight, hard_share, **weights)
        sizes = {"layers": projector_layers, "hidden_dim": hidden_dim, "projection_dim": projection_dim}
        self.projector = simclr_projector(encoder, projector, rank=projector_rank, **sizes)
        check_crops(crops, crop_size, crop_scale)
        if crops and loss == "align_uniform":
            raise BadInput("align_uniform has no anchors, and small crops are nothing else; set objective.crops to 0.")
        if jitter_strength < 0:
            raise BadInput(f"objective.jitter_strength is {jitter_strength}; set it to 0 or more.")
        self.jitter_strength, self.crops = jitter_strength, crops
        self.crop_size, self.crop_scale = crop_size, (float(crop_scale[0]), float(crop_scale[1]))

    def views(self, size: int) -> tuple[View, ...]:
        """The two views of SimCLR, and small crops that are drawn alike."""
        pair = SIMCLR_VIEWS(size, self.jitter_strength)
        return (*pair, *LOCAL_CROPS(pair[0], self.crops, self.crop_size, self.crop_scale))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch without negatives, and crops that are not smaller than the views."""
        self.contrast.check_batch(batch_size)
        check_smaller(self.crops, self.crop_size, view_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, and with small crops loss_global and loss_crops (its mean over crops)."""
        # Two views n×3×H×W, in one forward: batch norm sees them together; C crops n×3×h×w, in another.
        z1, z2, *crops = (gather(z) for z in by_resolution(self._project, batch.views))  # N×D, all ranks'
        own = own_rows(len(batch.views[0]))
        loss = self.contrast.views(z1, z2, own)
        return with_crops(loss, [self.contrast.crops(c, z1, z2, own) for c in crops])

    def _project(self, images: Tensor) -> Tensor:
        """g(f(v)): n×3×H×W -> n×D."""
        return self.projector(self.encoder(images))
