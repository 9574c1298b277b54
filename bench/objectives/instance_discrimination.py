"""Instance discrimination: each image is its own class, with its vector in a memory bank as the class's weight.

Claim:     54.99 % ImageNet linear top-1 of the authors' ResNet-50 (200 epochs, 4,096 negatives), measured by VISSL
           (MODEL_ZOO.md:143); 54.0 in the paper (from memory). HobbitLong/CMC's run on 4 GPUs has 56.5 (README.md:131),
           with crops from 8 % of the area on (train_moco_ins.py:106-108). Softmax losses have more: 57.1 with as many
           negatives there, 58.5 with 65,536 in the authors' later run, 59.5 with them and a cosine in PyContrast.
Paper:     Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (CVPR 2018),
           eq. 4 to 8.
Equation:  loss = −log h(i, v) − Σ_k log(1 − h(k, v)), a mean over images; v = n(g(f(x))), h(i, v) = P/(P + K/M),
           P = exp(v_i·v/τ)/Z; k are K rows of the bank, drawn uniformly for each image, M its rows.
           Z is M times the mean of exp(v_k·v/τ) over the first batch, and constant from then on.
           After the loss v_i ← n(½·v_i + ½·v). `loss="softmax"` is −log softmax over the 1 + K rows, without Z.
           Small crops are further queries: the mean over 1 + C, with the same rows of the bank; only v enters it.
Reference: zhirongw/lemniscate.pytorch.
Departs from it: the bank starts with unit vectors (there: of about unit length); no 1e-7 beside probabilities, as they
           are never formed; no proximal term (the paper's eq. 10, with which its reference does without on ImageNet). A
           negative may be the image itself, as there. The paper has no small crops; they are SwAV's (Caron et al.,
           NeurIPS 2020).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from bench.config.setting_types import Count, Positive, Rate
from bench.data.views import MOCO_VIEWS, Batch, View
from bench.losses.noise_contrastive import bank_loss
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.memory_bank import BankLoss, LogConstant, MemoryBank
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.small_crops import SmallCrops


class InstanceDiscrimination(SmallCrops):
    """Instance discrimination: each image is its own class, with its vector in a memory bank as the class's weight."""

    definition: ClassVar[int] = 2  # 1: views were jittered first, then grey

    def __init__(
        self,
        encoder: Encoder,
        num_images: int = 0,
        *,
        negatives: Count = 4096,
        temperature: Positive = 0.07,
        bank_momentum: Rate = 0.5,
        dim: Count = 128,
        loss: BankLoss = "nce",
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, dim))
        self.bank = MemoryBank(num_images, dim, bank_momentum, encoder.seed)
        self.log_z = LogConstant()
        self.negatives, self.temperature, self.loss = negatives, temperature, loss

    def views(self, size: int) -> tuple[View, ...]:
        """One view, as MoCo v1 has them (main.py:117-122 of the reference), then the small crops, drawn alike."""
        view = MOCO_VIEWS(size)[0]
        return (view, *self.small_crops(view))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        x, *crops = batch.views  # N×3×H×W, C crops N×3×h×w
        i, bank = batch.indices, self.bank
        v = self.projector(self.encoder(x))  # N×D
        small = by_resolution(nn.Sequential(self.encoder, self.projector), crops)  # C of N×D, in one forward
        rows = bank.rows(bank.draw_candidates(i, self.negatives))  # N×(1+K)×D, the image's first
        loss = bank_loss([v, *small], rows, self.temperature, self.loss, bank.images, self.log_z)
        bank.update(i, v)
        return {"loss": loss}
