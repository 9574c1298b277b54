"""CLSA: MoCo, plus a strongly augmented view whose similarities must match those of a weakly augmented one.

Claim:     69.4 % ImageNet linear top-1 with ResNet-50 (200 epochs, one weak query and one strong view), 73.3 % with
           five of each; 72.2 % and 76.2 % after 800 epochs.
Paper:     Wang and Qi, "Contrastive Learning with Stronger Augmentations" (2021).
Equation:  loss = L_C + β·L_D, β = 1. Candidates k are the keys of all images of the batch, and the K of the queue as it
           was before: p(k|z) = softmax_k(k·n(z)/τ), τ = 0.2.
           L_C = −log p(its key | z′), z′ from a weak query; a sum over the weak queries.
           L_D = −Σ_k p(k|z′)·log p(k|z″), without gradient through z′, z″ from a strong view; a sum over all pairs of
           a weak query and a strong view: 1 and 1 terms with one of each, 5 and 25 with five.
           Means over images. After the loss keys take the place of the oldest. θ_k ← m·θ_k + (1 − m)·θ_q, m constant.
           There are five sizes of crops, from 224 pixels and 20 to 100 % of the area to 96 pixels and 8.6 to 42.9 %. A
           single weak query is the largest, a single strong view the smallest; five are all. The key's is the largest.
Reference: maple-research-lab/CLSA, model/CLSA.py:282-342 and the commands of its README: there, too, all keys of the
           batch are candidates, N + K of them.
Departs from it: log-softmax instead of the logarithm of a softmax, which underflows. The key's networks move after the
           optimizer's step, not before the next forward: the same keys at every step. Norms are over groups as in
           `moco`, on any number of processes. Its symmetric form, which its README calls not verified, is left out. It
           has no `crops`: its small crops are its own (`weak_crops`, `strong_crops`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
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

# Sides of crops, as shares of the view's, and the range of their share of the area (ops/argparser.py:77-81).
CROPS = (
    (224 / 224, (0.2, 1.0)),
    (192 / 224, (0.172, 0.86)),
    (160 / 224, (0.143, 0.715)),
    (128 / 224, (0.114, 0.571)),
    (96 / 224, (0.086, 0.429)),
)


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

    definition: ClassVar[int] = 2  # the strong view is the smallest of five crops; with five, queries are five, too

    def __init__(
        self,
        encoder: Encoder,
        *,
        beta: Weight = 1.0,
        weak_crops: Literal[1, 5] = 1,
        strong_crops: Literal[1, 5] = 1,
        strong_steps: Whole = 5,
        queue_size: Count = 65536,
        temperature: Positive = 0.2,
        momentum: Share = 0.999,
        dim: Count = 128,
        mlp: bool = True,
    ) -> None:
        super().__init__(encoder, (encoder.feature_dim, dim) if mlp else (dim,), queue_size, temperature, momentum)
        self.beta, self.strong_steps = beta, strong_steps
        self.weak_crops, self.strong_crops = weak_crops, strong_crops

    def views(self, size: int) -> tuple[View, ...]:
        """Key, weak queries and strong queries: only the last have the strong steps, after all others."""
        key = MOCO_V2_VIEWS(size)[0]
        crops = [replace(key, size=round(size * share), scale=scale) for share, scale in CROPS]
        strong = [replace(crop, strong=self.strong_steps) for crop in crops]
        return key, *crops[: self.weak_crops], *strong[-self.strong_crops :]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, loss_c, loss_d (before its weight)."""
        v_k, *queries = batch.views  # N×3×H×W, N×3×h×w each
        query = nn.Sequential(self.encoder, self.projector)
        key = nn.Sequential(self.key_encoder, self.key_projector)
        queue = self.queue.keys.clone()  # K×D, as they were before this batch
        k = F.normalize(shuffled(key, v_k).to(queue.dtype), dim=1)  # N×D, no gradient
        keys = gather(k)  # all ranks' images × D
        # N×(all ranks' images + K) each
        logits = [candidate_logits(query(v), keys, queue, self.temperature) for v in queries]
        weak, strong = logits[: self.weak_crops], logits[self.weak_crops :]
        loss_c = torch.stack([diagonal_nce(one, rank() * len(k)) for one in weak]).sum()
        loss_d = torch.stack([distributional(one, other) for one in weak for other in strong]).sum()
        self.queue.push(k)
        return {"loss": loss_c + self.beta * loss_d, "loss_c": loss_c.detach(), "loss_d": loss_d.detach()}
