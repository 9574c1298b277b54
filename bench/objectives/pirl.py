"""PIRL: an image and its shuffled patches must both match the image's vector in a memory bank.

Claim:     64.29 % ImageNet linear top-1 with ResNet-50 (800 epochs; VISSL's pirl_jigsaw_4node_resnet50), 62.55 % after
           200; about 63.6 in the paper (800 epochs, from memory).
Paper:     Misra and van der Maaten, "Self-Supervised Learning of Pretext-Invariant Representations" (CVPR 2020).
Equation:  loss = λ·L(m_i, g(v_t)) + (1 − λ)·L(m_i, f(v)), λ = ½, a mean over images; L = −log h − Σ_k log(1 − h_k)
           against K rows of the bank, h the chance of noise-contrastive estimation (see bench/losses/
           noise_contrastive.py); f a linear layer on the image's feature; g a linear layer on each of the nine patches'
           features and one on all nine, put side by side in a random order. Everything is normalised.
           After the loss m_i ← n(½·m_i + ½·f(v)): the patches never enter the bank.
           Jitter, photometric steps, grey and flip are drawn for the image and for each patch apart, after it is cut.
Reference: facebookresearch/vissl: configs/config/pretrain/pirl/pirl_jigsaw_4node_resnet50.yaml, losses/nce_loss.py, and
           data/ssl_transforms (img_pil_to_patches_and_image.py, img_patches_tensor.py, img_pil_random_photometric.py).
Departs from it: h is that of the reference, with one constant Z for both terms, from the patches' scores of the first
           batch (nce_loss.py:88,262-263; the paper normalises over the batch's negatives); `loss="softmax"` is −log
           softmax over the 1 + K rows. Both terms have the same negatives (there: each its own). No 1e-7 beside
           probabilities, as they are never formed. A negative may be the image itself, as there. It has no small crops:
           the patches are its small views, and there is no second full view.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.config.setting_types import Count, Portion, Positive, Rate
from bench.data.views import Batch, View
from bench.errors import BadInput
from bench.losses.noise_contrastive import bank_loss
from bench.nn import draws
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.memory_bank import BankLoss, LogConstant, MemoryBank
from bench.nn.seeding import seeded
from bench.objectives.base import Objective

GRID = 3
PATCHES = GRID * GRID


class PIRL(Objective):
    """PIRL: an image and its shuffled patches must both match the image's vector in a memory bank."""

    definition: ClassVar[int] = 2  # photometric steps; patches with colours of their own; one Z
    norm_groups: ClassVar[bool] = True
    view_backends: ClassVar[tuple[str, ...]] = ("reference", "fast")

    def __init__(
        self,
        encoder: Encoder,
        num_images: int = 0,
        *,
        negatives: Count = 32000,
        temperature: Positive = 0.07,
        bank_momentum: Rate = 0.5,
        patch_weight: Portion = 0.5,
        puzzle_size: Count = 255,
        patch_size: Count = 64,
        dim: Count = 128,
        loss: BankLoss = "nce",
    ) -> None:
        super().__init__(encoder)
        if patch_size > puzzle_size // GRID:
            raise BadInput(
                f"objective.patch_size is {patch_size}, but a cell of objective.puzzle_size {puzzle_size} has "
                f"{puzzle_size // GRID} pixels; set patch_size to that or less."
            )
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, dim))
            self.patch_projector = nn.Linear(encoder.feature_dim, dim)
            self.puzzle_projector = nn.Linear(PATCHES * dim, dim)
        self.bank = MemoryBank(num_images, dim, bank_momentum, encoder.seed)
        self.log_z = LogConstant()
        self.negatives, self.temperature, self.loss = negatives, temperature, loss
        self.patch_weight, self.puzzle_size, self.patch_size = patch_weight, puzzle_size, patch_size

    def views(self, size: int) -> tuple[View, ...]:
        """The image, and nine patches of another crop of it, row by row."""
        image = View(
            size=size, interpolation="bilinear", jitter=(0.4, 0.4, 0.4, 0.2), jitter_p=1.0, photometric=0.66, blur=0.0
        )
        cells = (GRID, self.puzzle_size)
        return image, replace(image, size=self.patch_size, scale=(0.6, 1.0), cells=cells, count=PATCHES)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_image, loss_patches (before their weights)."""
        v, *patches = batch.views  # N×3×H×W, nine N×3×p×p
        n, i, bank = len(v), batch.indices, self.bank
        f = self.projector(self.encoder(v))  # N×D
        t = torch.cat(patches)  # 9N×3×p×p, view by view, as norm groups want them
        each = self.patch_projector(self.encoder(t)).unflatten(0, (PATCHES, n)).transpose(0, 1)  # N×9×D
        order = draws.permutations(n, PATCHES, device=v.device)[:, :, None].expand_as(each)
        g = self.puzzle_projector(each.gather(1, order).flatten(1))  # N×D
        rows = bank.rows(bank.draw_candidates(i, self.negatives))  # N×(1+K)×D, m_i first
        loss_patches, loss_image = (  # in this order: Z is measured at the first
            bank_loss([z], rows, self.temperature, self.loss, bank.images, self.log_z) for z in (g, f)
        )
        bank.update(i, f)
        loss = self.patch_weight * loss_patches + (1.0 - self.patch_weight) * loss_image
        return {"loss": loss, "loss_image": loss_image.detach(), "loss_patches": loss_patches.detach()}
