"""MoCo v2: MoCo with SimCLR's head and augmentations, on a common batch size.

Claim:     67.5 % ImageNet linear top-1 with ResNet-50 (200 epochs), 71.1 % (800 epochs).
Paper:     Chen et al., "Improved Baselines with Momentum Contrastive Learning" (2020); He et al., "Momentum Contrast"
           (CVPR 2020), eq. 1 and 2, algorithm 1.
Equation:  as `moco`: loss = −log [exp(q·k⁺/τ) / (exp(q·k⁺/τ) + Σ_i exp(q·k_i/τ))], a mean over images, but g is an MLP
           (2048-2048-128, ReLU, no norms), τ = 0.2, and views are blurred, too. After the loss k⁺ takes the place
           of the oldest keys. θ_k ← m·θ_k + (1 − m)·θ_q, m constant.
           Other losses stand in this one's place by name, with the queue as the only negatives: see
           `bench/losses/contrast_by_name.py`.
           With C small crops a direction's loss is the mean over its 1 + C queries, the crops having the same k⁺.
           `symmetric` adds the other direction, a sum; both views' keys then enter the queue. It costs about what
           twice as many epochs do.
Reference: facebookresearch/moco, with --mlp --moco-t 0.2 --aug-plus --cos.
Departs from it: the key's networks move after the optimizer's step, not before the next forward: the same keys at every
           step (at the first the copies are equal), also where gradients are accumulated.
           On one process, where there is nobody to shuffle with, `bn_splits` parts of the batch stand for the
           reference's 8 processes, as in the authors' notebook, each through the network by itself.
           MoCo has no small crops; they are SwAV's (Caron et al., NeurIPS 2020). They are queries and nothing else: no
           crop becomes a key or enters the queue.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.views import LOCAL_CROPS, MOCO_V2_VIEWS, Batch, View
from bench.losses.contrast_by_name import QUEUE, Contrast
from bench.nn.ema import follow
from bench.nn.encoder import Encoder
from bench.nn.key_networks import check_contrast, key_networks
from bench.nn.multi_crop import by_resolution, check_crops
from bench.nn.queue import Queue
from bench.nn.shuffle import check_parts, in_parts, shuffled
from bench.objectives.base import Objective
from bench.settings import Count, CropSize, Portion, Positive, Share, Weight, Whole


class MoCoV2(Objective):
    """MoCo v2: MoCo with SimCLR's head and augmentations, on a common batch size."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        queue_size: Count = 65536,
        temperature: Positive = 0.2,
        momentum: Share = 0.999,
        dim: Count = 128,
        mlp: bool = True,
        symmetric: bool = False,
        bn_splits: int = 1,
        loss: Annotated[str, QUEUE] = "nt_xent",
        negative_weight: Weight = 1.0,
        hard_share: Portion = 0.1,
        crops: Whole = 0,
        crop_size: CropSize = 96,
        crop_scale: tuple[float, float] = (0.05, 0.14),
    ) -> None:
        super().__init__(encoder)
        check_contrast(momentum, temperature)
        check_crops(crops, crop_size, crop_scale)
        self.contrast = Contrast(loss, temperature, negative_weight=negative_weight, hard_share=hard_share)
        self.contrast.check_queue()
        self.projector, self.key_encoder, self.key_projector = key_networks(encoder, mlp, dim)
        self.queue = Queue(queue_size, dim, encoder.seed)
        self.temperature, self.momentum, self.symmetric, self.bn_splits = temperature, momentum, symmetric, bn_splits
        self.crops, self.crop_size = crops, crop_size
        self.crop_scale = (float(crop_scale[0]), float(crop_scale[1]))

    def views(self, size: int) -> tuple[View, ...]:
        """Two views of MoCo v2, query and key, then the small crops, drawn alike."""
        pair = MOCO_V2_VIEWS(size)
        return (*pair, *LOCAL_CROPS(pair[0], self.crops, self.crop_size, self.crop_scale))

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a queue that is no multiple of the batch, and parts that do not divide it."""
        del view_size
        check_parts(batch_size, self.bn_splits)
        self.queue.check(batch_size, per_image=1 + self.symmetric)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss."""
        v1, v2, *crops = batch.views  # N×3×H×W, C crops N×3×h×w
        query = nn.Sequential(self.encoder, self.projector)
        key = nn.Sequential(self.key_encoder, self.key_projector)
        negatives = self.queue.keys.clone()  # K×D, as they were before this batch
        small = by_resolution(query, crops, self.bn_splits)  # C of N×D, in one forward
        losses, keys = [], []
        for x, y in [(v1, v2), (v2, v1)] if self.symmetric else [(v1, v2)]:
            q = in_parts(query, x, self.bn_splits)  # N×D
            k = F.normalize(shuffled(key, y, self.bn_splits).to(negatives.dtype), dim=1)  # N×D, no gradient
            losses.append(torch.stack([self.contrast.queue(each, k, negatives) for each in (q, *small)]).mean())
            keys.append(k)
        self.queue.push(torch.cat(keys))
        return {"loss": torch.stack(losses).sum()}

    def after_step(self, progress: float) -> None:
        """Move the key's networks towards the query's, by the same share at every step."""
        del progress
        follow(self.key_encoder, self.encoder, self.momentum)
        follow(self.key_projector, self.projector, self.momentum)
