"""SimCLR: recognise the other view of an image among all other images of the batch.

Claim:     about 69.3 % ImageNet linear top-1 with ResNet-50 (1000 epochs, batch 4096; from memory of the paper; the
           reference's released network has 69.1), and 64.5 % by the command of its README (100 epochs, three layers in
           the head, weight decay 1e-4).
Paper:     Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (ICML 2020), eq. 1;
           small crops: Caron et al., SwAV (NeurIPS 2020); projectors: Jing et al. (ICLR 2022).
Equation:  ℓ_ij = −log e^{s_ij/τ} / Σ_{k≠i} e^{s_ik/τ} over the 2N rows of both views, s = cosine, z = g(f(v));
           loss = the mean of ℓ over all 2N rows with their other view, negatives from all ranks with gradient.
           With C small crops: (loss + Σ_c ℓ_c) / (1 + C); ℓ_c has the crop as the anchor, a global view of the same
           image as the positive (a mean over both), and the 2N − 2 global views of other images as negatives.
           `loss` chooses other losses by name: see `bench/losses/contrast_by_name.py`.
Reference: google-research/simclr: objective.py, model_util.py, data_util.py, resnet.py, lars_optimizer.py.
Departs from it: where paper and code differ: the code's loss is the sum of the two views' means (objective.py:82-86),
           twice the paper's (algorithm 1), which is the default; `reduction="sum"` is the code's. That doubles the step
           of biases and norms, which LARS does not adapt, and halves the weight of decay.
           LARS has the rate outside the momentum (there: inside, lars_optimizer.py:111-118), which differs while the
           rate changes. Linear layers start as torch's do (there: normal, 0.01), convolutions as torchvision's, by
           fan-out (there: truncated normal, by fan-in, resnet.py:276); images are normalised by ImageNet's mean and
           deviation (there: in [0, 1]); the fallback of a crop that does not fit in ten attempts is
           torchvision's (there: a hundred, then the whole image). With gradient accumulation a batch's negatives are
           those of the micro-batch; SimCLR has no small crops. A crop is never a positive or a negative.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from bench.config.setting_types import AreaRange, Count, CropSize, Portion, Positive, Weight, Whole
from bench.data.views import SIMCLR_VIEWS, View
from bench.errors import BadInput
from bench.losses.contrast_by_name import Contrast, ViewsLoss
from bench.nn.encoder import Encoder
from bench.nn.heads import Projector
from bench.objectives.two_view_contrast import TwoViewContrast


class SimCLR(TwoViewContrast):
    """SimCLR: each view of an image finds the other among all other images, by a softmax over cosines."""

    later: ClassVar[tuple[str, ...]] = ("reduction",)

    def __init__(
        self,
        encoder: Encoder,
        *,
        loss: ViewsLoss = "nt_xent",
        temperature: Positive = 0.1,
        projector: Projector = "mlp",
        projector_layers: Count = 2,
        projector_rank: int = 360,
        hidden_dim: Count = 2048,
        projection_dim: Count = 128,
        jitter_strength: Weight = 1.0,
        crops: Whole = 0,
        crop_size: CropSize = 96,
        crop_scale: AreaRange = (0.05, 0.14),
        sigma: Positive = 0.5,
        negative_weight: Weight = 1.0,
        hard_share: Portion = 0.1,
        align_weight: Weight = 1.0,
        uniform_weight: Weight = 1.0,
        t: Positive = 2.0,
        reduction: Literal["mean", "sum"] = "mean",  # of the losses with either view as anchors
    ) -> None:
        super().__init__(
            encoder,
            projector=projector,
            projector_layers=projector_layers,
            projector_rank=projector_rank,
            hidden_dim=hidden_dim,
            projection_dim=projection_dim,
            crops=crops,
            crop_size=crop_size,
            crop_scale=crop_scale,
        )
        if crops and loss == "align_uniform":
            raise BadInput("align_uniform has no anchors, and small crops are nothing else; set objective.crops to 0.")
        weights = {"align_weight": align_weight, "uniform_weight": uniform_weight, "t": t}
        self.contrast = Contrast(loss, temperature, sigma, negative_weight, hard_share, **weights)
        self.jitter_strength = jitter_strength
        self.anchors = 2.0 if reduction == "sum" else 1.0  # what the mean over both views is multiplied by

    def views(self, size: int) -> tuple[View, ...]:
        """The two views of SimCLR, and small crops that are drawn alike."""
        pair = SIMCLR_VIEWS(size, self.jitter_strength)
        return (*pair, *self.small_crops(pair[0]))

    def loss_of_views(self, z1: Tensor, z2: Tensor, rows: slice) -> Tensor:
        """Return the chosen loss of two views, N×D each."""
        return self.anchors * self.contrast.views(z1, z2, rows)

    def loss_of_crop(self, c: Tensor, z1: Tensor, z2: Tensor, rows: slice) -> Tensor:
        """Return the chosen loss with small crops as anchors, N×D each."""
        return self.anchors * self.contrast.crops(c, z1, z2, rows)
