"""CLSA: MoCo, plus a strongly augmented view whose similarities must match those of a weakly augmented one.

Claim:     69.4 % ImageNet linear top-1 with ResNet-50 (200 epochs, one strong crop), 73.3 % with five crops.
Paper:     Wang and Qi, "Contrastive Learning with Stronger Augmentations" (2021).
Equation:  loss = L_C + β·L_D, β = 1. Candidates k are the keys of all images of the batch, and the K of the queue as it
           was before: p(k|z) = softmax_k(k·n(z)/τ), τ = 0.2.
           L_C = −log p(its key | z′), z′ from the weak query view.
           L_D = −Σ_k p(k|z′)·log p(k|z″), without gradient through z′, z″ from the strong view; a sum over the
           strong views.
           Means over images. After the loss keys take the place of the oldest. θ_k ← m·θ_k + (1 − m)·θ_q, m constant.
Reference: maple-research-lab/CLSA: there, too, all keys of the batch are candidates, N + K of them.
Departs from it: log-softmax instead of the logarithm of a softmax, which underflows. The key's networks move after the
           optimizer's step, not before the next forward: the same keys at every step. Norms are over groups as in
           `moco`, on any number of processes. It has no `crops`: the strong views are its smaller crops
           (`strong_crops`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from bench.config.setting_types import Count, Positive, Share, Weight, Whole
from bench.data.views import MOCO_V2_VIEWS, Batch, View
from bench.losses.classification import distribution_cross_entropy
from bench.losses.contrastive import diagonal_nce
from bench.losses.float32 import at_least_float32
from bench.nn.collectives import gather, rank
from bench.nn.encoder import Encoder
from bench.nn.shuffle import shuffled
from bench.objectives.momentum_contrast import MomentumContrast

# Sides of strong crops, as shares of the view's, and the least share of the area.
CROPS = ((224 / 224, 0.2), (192 / 224, 0.172), (160 / 224, 0.143), (128 / 224, 0.114), (96 / 224, 0.086))


@at_least_float32
def candidate_logits(q: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Return n(q)·[n(keys); n(queue)]/τ: queries n×D, keys N×D, queue K×D -> n×(N+K)."""
    candidates = torch.cat([F.normalize(keys, dim=1), F.normalize(queue, dim=1)])
    return F.normalize(q, dim=1) @ candidates.T / temperature


@at_least_float32
def distributional(weak: Tensor, strong: Tensor) -> Tensor:
    """Return the mean over rows of −Σ_k p_k·log q_k, p = softmax(sg weak), q = softmax(strong): n×C, n×C -> scalar.

    No gradient reaches the weak view. From log-softmax, so that a candidate out of reach costs much, not infinity.
    """
    return distribution_cross_entropy(strong, F.softmax(weak, dim=1))


class CLSA(MomentumContrast):
    """CLSA: MoCo, plus a strongly augmented view whose similarities must match those of a weakly augmented one."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        beta: Weight = 1.0,
        strong_crops: Annotated[int, Field(ge=1, le=5)] = 1,
        strong_steps: Whole = 5,
        queue_size: Count = 65536,
        temperature: Positive = 0.2,
        momentum: Share = 0.999,
        dim: Count = 128,
        mlp: bool = True,
    ) -> None:
        super().__init__(encoder, (encoder.feature_dim, dim) if mlp else (dim,), queue_size, temperature, momentum)
        self.beta, self.strong_crops, self.strong_steps = beta, strong_crops, strong_steps

    def views(self, size: int) -> tuple[View, ...]:
        """Weak query, key, and strong queries: only these have the strong steps, after all others."""
        query, key = MOCO_V2_VIEWS(size)
        strong = [
            replace(query, size=round(size * share), scale=(least, 1.0), strong=self.strong_steps)
            for share, least in CROPS[: self.strong_crops]
        ]
        return query, key, *strong

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_c, loss_d (before its weight)."""
        v1, v2, *strong = batch.views  # N×3×H×W, N×3×H×W, N×3×h×w each
        query = nn.Sequential(self.encoder, self.projector)
        key = nn.Sequential(self.key_encoder, self.key_projector)
        queue = self.queue.keys.clone()  # K×D, as they were before this batch
        k = F.normalize(shuffled(key, v2).to(queue.dtype), dim=1)  # N×D, no gradient
        keys = gather(k)  # all ranks' images × D
        weak, *others = (
            candidate_logits(query(v), keys, queue, self.temperature) for v in (v1, *strong)
        )  # N×(all ranks' images + K)
        loss_c = diagonal_nce(weak, rank() * len(k))
        loss_d = torch.stack([distributional(weak, one) for one in others]).sum()
        self.queue.push(k)
        return {"loss": loss_c + self.beta * loss_d, "loss_c": loss_c.detach(), "loss_d": loss_d.detach()}
