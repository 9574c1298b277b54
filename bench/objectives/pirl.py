"""PIRL: an image and its shuffled patches must both match the image's vector in a memory bank.

Claim:     about 63.6 % ImageNet linear top-1 with ResNet-50 (800 epochs; from memory of the paper); 64.3 % in VISSL.
Paper:     Misra and van der Maaten, "Self-Supervised Learning of Pretext-Invariant Representations" (CVPR 2020).
Equation:  loss = λ·L(m_i, g(v_t)) + (1 − λ)·L(m_i, f(v)), λ = ½, a mean over images; L = −log h − Σ_k log(1 − h_k)
           against K rows of the bank, h the chance of noise-contrastive estimation (see bench/losses/
           noise_contrastive.py); f a linear layer on the image's feature; g a linear layer on each of the nine patches'
           features and one on all nine, put side by side in a random order. Everything is normalised.
           After the loss m_i ← n(½·m_i + ½·f(v)): the patches never enter the bank.
Reference: facebookresearch/vissl, pirl_jigsaw.
Departs from it: h is that of the reference, with a constant Z for each term, fixed at the first batch (the paper
           normalises over the batch's negatives); `loss="softmax"` is −log softmax over the 1 + K rows. Both terms have
           the same negatives. All patches of an image share its colour jitter (there too). A negative may be the image
           itself, as there. It has no small crops: the patches are its small views, and there is no second full view.
"""

from __future__ import annotations

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


JITTER = (0.4, 0.4, 0.4, 0.2)


def patches(images: Tensor, size: int) -> Tensor:
    """Cut images N×3×H×H into cells, and a patch out of each at a random place: N×9×3×size×size, row by row.

    Raises ValueError for patches larger than a cell.
    """
    n, cell = len(images), images.shape[-1] // GRID
    if size > cell:
        raise ValueError(f"patches of {size} pixels do not fit into cells of {cell}")
    corner = draws.integers(n, PATCHES, 2, high=cell - size + 1, device=images.device)  # row, column in the cell
    place = torch.arange(size, device=images.device)
    first = torch.arange(PATCHES, device=images.device)
    row = (first // GRID * cell + corner[..., 0])[..., None] + place  # N×9×size
    column = (first % GRID * cell + corner[..., 1])[..., None] + place
    which = torch.arange(n, device=images.device)[:, None, None, None]
    cut = images.permute(0, 2, 3, 1)[which, row[..., :, None], column[..., None, :]]  # N×9×size×size×3
    return cut.permute(0, 1, 4, 2, 3)


class PIRL(Objective):
    """PIRL: an image and its shuffled patches must both match the image's vector in a memory bank."""

    norm_groups: ClassVar[bool] = True

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
        self.log_z_image, self.log_z_patches = LogConstant(), LogConstant()
        self.negatives, self.temperature, self.loss = negatives, temperature, loss
        self.patch_weight, self.puzzle_size, self.patch_size = patch_weight, puzzle_size, patch_size

    def views(self, size: int) -> tuple[View, ...]:
        """The image, and the larger piece of it that is cut into patches."""
        image = View(size=size, interpolation="bilinear", jitter=JITTER, jitter_p=1.0, blur=0.0)
        puzzle = View(
            size=self.puzzle_size, scale=(0.6, 1.0), interpolation="bilinear", jitter=JITTER, jitter_p=1.0, blur=0.0
        )
        return image, puzzle

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_image, loss_patches (before their weights)."""
        v, puzzle = batch.views  # N×3×H×W, N×3×P×P
        n, i, bank = len(v), batch.indices, self.bank
        f = self.projector(self.encoder(v))  # N×D
        t = patches(puzzle, self.patch_size).transpose(0, 1)  # 9×N×3×p×p, as norm groups want them
        each = self.patch_projector(self.encoder(t.flatten(0, 1))).unflatten(0, (PATCHES, n)).transpose(0, 1)  # N×9×D
        order = draws.permutations(n, PATCHES, device=v.device)[:, :, None].expand_as(each)
        g = self.puzzle_projector(each.gather(1, order).flatten(1))  # N×D
        rows = bank.rows(bank.draw_candidates(i, self.negatives))  # N×(1+K)×D, m_i first
        loss_image, loss_patches = (
            bank_loss([z], rows, self.temperature, self.loss, bank.images, log_z)
            for z, log_z in ((f, self.log_z_image), (g, self.log_z_patches))
        )
        bank.update(i, f)
        loss = self.patch_weight * loss_patches + (1.0 - self.patch_weight) * loss_image
        return {"loss": loss, "loss_image": loss_image.detach(), "loss_patches": loss_patches.detach()}
