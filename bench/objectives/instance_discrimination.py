"""Instance discrimination: each image is its own class, with its vector in a memory bank as the class's weight.

Claim:     59.5 % ImageNet linear top-1 with ResNet-50 (200 epochs, in PyContrast, a later code base).
Paper:     Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (CVPR 2018),
           eq. 4 to 8.
Equation:  loss = −log h(i, v) − Σ_k log(1 − h(k, v)), a mean over images; v = n(g(f(x))), h(i, v) = P/(P + K/M),
           P = exp(v_i·v/τ)/Z; k are K rows of the bank, drawn uniformly for each image, M its rows.
           Z is M times the mean of exp(v_k·v/τ) over the first batch, and constant from then on.
           After the loss v_i ← n(½·v_i + ½·v). `loss="softmax"` is −log softmax over the 1 + K rows, without Z.
Reference: zhirongw/lemniscate.pytorch.
Departs from it: the bank starts with unit vectors (there: of about unit length); no 1e-7 beside probabilities, as they
           are never formed; no proximal term (the paper's eq. 10, with which its reference does without on ImageNet).
           A negative may be the image itself, as there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.views import MOCO_VIEWS, Batch, View
from bench.losses.noise_contrastive import first_of, log_constant, nce, scores
from bench.nn import draws
from bench.nn.bank_settings import check_bank
from bench.nn.constant import LogConstant
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.memory_bank import MemoryBank
from bench.nn.seeding import seeded
from bench.objectives.base import Objective


class InstanceDiscrimination(Objective):
    """Instance discrimination: each image is its own class, with its vector in a memory bank as the class's weight."""

    def __init__(
        self,
        encoder: Encoder,
        num_images: int = 0,
        *,
        negatives: int = 4096,
        temperature: float = 0.07,
        bank_momentum: float = 0.5,
        dim: int = 128,
        loss: str = "nce",
    ) -> None:
        super().__init__(encoder)
        check_bank(negatives, temperature, dim, loss)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp((encoder.feature_dim, dim))
        self.bank = MemoryBank(num_images, dim, bank_momentum, encoder.seed)
        self.log_z = LogConstant()
        self.negatives, self.temperature, self.loss = negatives, temperature, loss

    def views(self, size: int) -> tuple[View, ...]:
        """One view, as MoCo v1 has them."""
        return MOCO_VIEWS(size)[:1]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        (x,) = batch.views  # N×3×H×W
        i, bank = batch.indices, self.bank
        v = self.projector(self.encoder(x))  # N×D
        k = draws.integers(len(x), self.negatives, high=bank.images, device=x.device)  # N×K
        logits = scores(v, bank.rows(torch.cat([i[:, None], k], dim=1)), self.temperature)  # N×(1+K), own row first
        if self.loss == "nce":
            loss = nce(logits, self.log_z(log_constant(logits, bank.images)), bank.images)
        else:
            loss = first_of(logits)
        bank.update(i, v)
        return {"loss": loss}
