"""MoCo: tell the other view's key from a long queue of past keys, which a slowly moving encoder made.

Claim:     60.6 % ImageNet linear top-1 with ResNet-50 (200 epochs).
Paper:     He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (CVPR 2020), eq. 1 and 2,
           algorithm 1.
Equation:  loss = −log [exp(q·k⁺/τ) / (exp(q·k⁺/τ) + Σ_i exp(q·k_i/τ))], a mean over images; q = n(g(f(v₁))),
           k⁺ = n(g_k(f_k(v₂))) without gradient, k_i the K keys of the queue as it was before this batch.
           After the loss k⁺ takes the place of the oldest keys. θ_k ← m·θ_k + (1 − m)·θ_q, m constant.
           `loss` chooses other losses by name, with the queue as the only negatives: see
           `bench/losses/contrast_by_name.py`.
           With C small crops a direction's loss is the mean over its 1 + C queries, the crops having the same k⁺.
           `symmetric` adds the other direction, a sum; both views' keys then enter the queue.
Reference: facebookresearch/moco at 78b69ca.
Departs from it: the key's networks move after the optimizer's step, not before the next forward: the same keys at every
           step (at the first the copies are equal), also where gradients are accumulated.
           Norms are over groups of the recipe's `norm_images`, and keys over others than their queries, on any number
           of processes (there: 8 with 32 images each, and none but several, main_moco.py:182-190). Running statistics
           are means over the groups (there: those of the first process).
           MoCo has no small crops; they are SwAV's (Caron et al., NeurIPS 2020). They are queries only: no crop becomes
           a key or enters the queue.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.config.setting_types import Count, Portion, Positive, Share, Weight
from bench.data.views import MOCO_VIEWS, Batch
from bench.losses.contrast_by_name import Contrast, QueueLoss
from bench.nn.encoder import Encoder
from bench.nn.multi_crop import by_resolution
from bench.nn.shuffle import shuffled
from bench.objectives.momentum_contrast import MomentumContrast


class MoCo(MomentumContrast):
    """MoCo: tell the other view's key from a long queue of past keys, which a slowly moving encoder made."""

    full_views = staticmethod(MOCO_VIEWS)
    definition: ClassVar[int] = 2  # 1: views were jittered first, then grey

    def __init__(
        self,
        encoder: Encoder,
        *,
        queue_size: Count = 65536,
        temperature: Positive = 0.07,
        momentum: Share = 0.999,
        dim: Count = 128,
        mlp: bool = False,
        symmetric: bool = False,
        loss: QueueLoss = "nt_xent",
        negative_weight: Weight = 1.0,
        hard_share: Portion = 0.1,
        **small_crops: Any,
    ) -> None:
        dims = (encoder.feature_dim, dim) if mlp else (dim,)
        super().__init__(encoder, dims, queue_size, temperature, momentum, **small_crops)
        self.contrast = Contrast(loss, temperature, negative_weight=negative_weight, hard_share=hard_share)
        self.symmetric = symmetric

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a queue that is no multiple of the keys of a batch."""
        self.queue.check(batch_size, per_image=1 + self.symmetric)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        v1, v2, *crops = batch.views  # N×3×H×W, C crops N×3×h×w
        query = nn.Sequential(self.encoder, self.projector)
        key = nn.Sequential(self.key_encoder, self.key_projector)
        negatives = self.queue.keys.clone()  # K×D, as they were before this batch
        small = by_resolution(query, crops)  # C of N×D, in one forward
        losses, keys = [], []
        for x, y in [(v1, v2), (v2, v1)] if self.symmetric else [(v1, v2)]:
            q = query(x)  # N×D
            k = F.normalize(shuffled(key, y).to(negatives.dtype), dim=1)  # N×D, no gradient
            losses.append(torch.stack([self.contrast.queue(each, k, negatives) for each in (q, *small)]).mean())
            keys.append(k)
        self.queue.push(torch.cat(keys))
        return {"loss": torch.stack(losses).sum()}
