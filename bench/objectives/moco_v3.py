"""MoCo v3: predict the other view's key among the keys of the batch; no queue, both directions.

Claim:     68.9 % ImageNet linear top-1 with ResNet-50 (100 epochs, batch 4096), 72.8 % (300), 74.6 % (1000).
Paper:     Chen et al., "An Empirical Study of Training Self-Supervised Vision Transformers" (ICCV 2021), algorithm 1.
Equation:  loss = ctr(q₁, k₂) + ctr(q₂, k₁), ctr(q, k) = −2τ·log [exp(q_i·k_i/τ) / Σ_j exp(q_i·k_j/τ)], a mean over
           images i, j over all images of the batch on all ranks; q = n(h(g(f(v)))) with a predictor h,
           k = n(g_k(f_k(v))) without gradient. θ_k ← m·θ_k + (1 − m)·θ_q, m from m₀ to 1 along a half cosine.
           With C small crops: ctr's mean over the 2 + 2·C pairs of a query and a full view's key (each crop with both),
           times 2: the scale stays.
           τ = 1: only the factor 2τ keeps the scale of the gradient when τ changes.
Reference: facebookresearch/moco-v3, its ResNet-50.
Departs from it: the key's networks move after the optimizer's step, by the m of that step, not before the next forward
           by the next step's. With gradient accumulation the keys are those of the micro-batch (of all ranks). The
           paper has no small crops; they are SwAV's (Caron et al., NeurIPS 2020), and never go through the key's
           networks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.config.setting_types import Count, Portion, Positive, Share
from bench.data.views import BYOL_VIEWS, Batch, View
from bench.losses.contrastive import cross_view_nce
from bench.nn.collectives import gather, rank
from bench.nn.ema import target_of
from bench.nn.encoder import Encoder
from bench.nn.heads import projection_mlp
from bench.nn.multi_crop import by_resolution
from bench.nn.seeding import seeded
from bench.objectives.moving_copies import MovingCopies


class MoCoV3(MovingCopies):
    """MoCo v3: predict the other view's key among the keys of the batch; no queue, both directions."""

    needs_several_for = "negatives, which are other images"

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: Positive = 1.0,
        momentum: Share = 0.99,
        hidden_dim: Count = 4096,
        dim: Count = 256,
        crop_min: Portion = 0.2,
        **small_crops: Any,
    ) -> None:
        super().__init__(encoder, **small_crops)
        with seeded(encoder.seed, "heads"):
            self.projector = projection_mlp(
                (encoder.feature_dim, hidden_dim, dim), last_norm=True, last_affine=False, bias=False
            )
            self.predictor = projection_mlp((dim, hidden_dim, dim), bias=False)
        self.key_encoder, self.key_projector = target_of(encoder), target_of(self.projector)
        self.temperature, self.tau0, self.crop_min = temperature, momentum, crop_min

    def views(self, size: int) -> tuple[View, ...]:
        """The two views of BYOL, of a fifth of the area at least, then the small crops, drawn like BYOL's."""
        pair = (replace(v, scale=(self.crop_min, 1.0), interpolation="bilinear") for v in BYOL_VIEWS(size))
        like = View(interpolation="bilinear")
        return (*pair, *self.small_crops(like))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        v1, v2, *crops = batch.views  # N×3×H×W, C crops N×3×h×w
        f, g, h, tau = self.encoder, self.projector, self.predictor, self.temperature
        q1, q2 = h(g(f(v1))), h(g(f(v2)))  # N×D
        small = by_resolution(lambda v: h(g(f(v))), crops)  # C of N×D, in one forward
        with torch.no_grad():
            k1, k2 = (gather(self.key_projector(self.key_encoder(v))) for v in (v1, v2))  # all ranks' images × D
        first = rank() * len(q1)
        pairs = [(q1, k2), (q2, k1), *((q, k) for q in small for k in (k1, k2))]
        ctr = torch.stack([cross_view_nce(q, k, tau, first) for q, k in pairs]).mean()
        return {"loss": 2 * tau * (2 * ctr)}
