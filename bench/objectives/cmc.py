"""CMC: an image's lightness must identify its colours among those of many images, and the reverse.

Claim:     58.6 % ImageNet linear top-1 with a pair of half as wide ResNet-50 (200 epochs), in PyContrast, by the same
           authors: with a softmax over 65,536 negatives, a cosine and batch 256. None is known of this recipe.
Paper:     Tian et al., "Contrastive Multiview Coding" (ECCV 2020).
Equation:  loss = L(l, bank of ab) + L(ab, bank of l), each a mean over images of −log h(its row) − Σ_k log(1 − h(k)),
           h = P/(P + K/M), P = exp(z·m/τ)/Z; K rows of the bank of the other view are drawn for each image, M its rows.
           Z of each term is M times the mean of exp(z·m/τ) over the first batch, and constant from then on. After the
           loss each bank's row of the image m ← n(½·m + ½·z). `loss="softmax"` is −log softmax over the 1 + K rows,
           without Z.
Reference: HobbitLong/CMC, train_CMC.py (crops from 8 % on, line 97) and NCE/.
Departs from it: two whole ResNet-50 with three input channels, not two of half the width with one and two. The one that
           sees L is `encoder`, what is transferred: it gets L as a grey image, normalised as any image is, so that the
           RGB images of later tasks are of the kind that it has seen. The other gets a, b and a channel of zeros.
           (There the features of both go side by side into the classifier.) The banks start with unit vectors (there:
           of about unit length). No 1e-7 beside probabilities, as they are never formed. It has no small crops: its
           views are the channels of one crop.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.config.setting_types import Count, Positive, Rate
from bench.data.views import MEAN, STD, Batch, View
from bench.losses.noise_contrastive import bank_loss
from bench.nn.colour import lab
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.memory_bank import BankLoss, LogConstant, MemoryBank
from bench.nn.seeding import seeded
from bench.objectives.base import Objective

# The middle and the half range of a and b over all colours of sRGB.
AB_CENTRE, AB_HALF = (6.025, -6.6895), (92.208, 101.1675)


class CMC(Objective):
    """CMC: an image's lightness must identify its colours among those of many images, and the reverse."""

    definition: ClassVar[int] = 2  # crops from 8 % of the area on, not 20 %
    norm_groups: ClassVar[bool] = True

    def __init__(
        self,
        encoder: Encoder,
        num_images: int = 0,
        *,
        negatives: Count = 16384,
        temperature: Positive = 0.07,
        bank_momentum: Rate = 0.5,
        dim: Count = 128,
        loss: BankLoss = "nce",
    ) -> None:
        super().__init__(encoder)
        with seeded(encoder.seed, "ab"):
            self.ab_encoder = copy.deepcopy(encoder)
            for module in self.ab_encoder.modules():
                if isinstance(module, nn.Conv2d):  # anew, as the encoder's was
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            self.ab_projector = projection_mlp((encoder.feature_dim, dim))
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, dim))
        self.l_bank = MemoryBank(num_images, dim, bank_momentum, encoder.seed)
        self.ab_bank = MemoryBank(num_images, dim, bank_momentum, encoder.seed + 1)
        self.log_z_l, self.log_z_ab = LogConstant(), LogConstant()
        self.negatives, self.temperature, self.loss = negatives, temperature, loss

    def views(self, size: int) -> tuple[View, ...]:
        """One crop, whose colours stay as they are: they are the other view."""
        return (View(size=size, scale=(0.08, 1.0), interpolation="bilinear", jitter=None, grey=0.0, blur=0.0),)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_l, loss_ab."""
        (v,) = batch.views  # N×3×H×W
        i = batch.indices
        lightness, ab = split(v)  # N×3×H×W each
        z_l = self.projector(self.encoder(lightness))  # N×D
        z_ab = self.ab_projector(self.ab_encoder(ab))  # N×D
        candidates = self.l_bank.draw_candidates(i, self.negatives)  # N×(1+K), the image itself first
        loss_l, loss_ab = (
            bank_loss([z], bank.rows(candidates), self.temperature, self.loss, bank.images, log_z)
            for z, bank, log_z in ((z_l, self.ab_bank, self.log_z_l), (z_ab, self.l_bank, self.log_z_ab))
        )
        self.l_bank.update(i, z_l)
        self.ab_bank.update(i, z_ab)
        return {"loss": loss_l + loss_ab, "loss_l": loss_l.detach(), "loss_ab": loss_ab.detach()}

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """The feature of an image as it is, which is what later tasks get, and the projection of its lightness."""
        return {"backbone": self.encoder(images), "projector": self.projector(self.encoder(split(images)[0]))}


def split(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return L as a normalised grey image, and a, b in about [−1, 1] with a channel of zeros: N×3×H×W each."""
    with torch.autocast(images.device.type, enabled=False):
        lightness, ab = lab(images).split([1, 2], dim=1)
        mean, std, centre, half = (
            torch.tensor(values, dtype=ab.dtype, device=ab.device).view(1, -1, 1, 1)
            for values in (MEAN, STD, AB_CENTRE, AB_HALF)
        )
        grey = (lightness / 100.0 - mean) / std
        return grey, torch.cat([(ab - centre) / half, torch.zeros_like(lightness)], dim=1)
