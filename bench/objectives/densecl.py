"""DenseCL: MoCo v2, and the same contrast once more between positions of the feature maps.

Claim:     800 epochs on COCO: 56.7 VOC detection AP and 67.5 VOC segmentation mIoU, against 54.7 and 64.5 of MoCo v2.
Paper:     Wang et al., "Dense Contrastive Learning for Self-Supervised Visual Pre-Training" (CVPR 2021), eq. 1 to 3;
           crops: Van Gansbeke et al., "Revisiting Contrastive Methods for Unsupervised Learning" (NeurIPS 2021).
Equation:  loss = (1 − λ)·L_q + λ·L_r, λ = dense_weight.
           L_q = InfoNCE of the query q and its key k against a queue of past keys.
           L_r = the mean over images and positions i of InfoNCE of r_i and t_c, c = argmax_j cos(F_i, F′_j), against
           a second queue; F, F′ are the backbone's maps of the two views, r = h(F) and t = h′(F′) dense projections.
           The second queue holds the mean of an image's t over positions: one key for each image.
           After each optimizer step the key networks move: θ′ ← m·θ′ + (1 − m)·θ, m constant.
           `crops` small crops are further queries of L_q; at least `overlap` of each lies in the key's view, or, where
           ten draws had less, the next one lies anywhere.
Reference: WXinlong/DenseCL; for the crops wvangansbeke/Revisiting-Contrastive-SSL.
Departs from it: the key networks move after the step, not before the next forward: the same, as they start as a copy.
           Norms are over groups as in `moco`, on any number of processes; keys are shuffled as there
           (models/densecl.py:170, builder_ours.py:210-219). With dense_weight 0 there is no dense head: MoCo v2. Linear
           layers start as torch's do (there the two of the global head are Kaiming-normal with biases of 0). Of the
           paper with the crops, neither AutoAugment (there half of the time, on all but the key) nor the auxiliary loss
           on nearest neighbours is taken over.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.config.setting_types import AreaRange, Count, CropSize, Positive, Rate, Share, Whole
from bench.data.views import MOCO_V2_VIEWS, Batch, View
from bench.losses.contrastive import info_nce
from bench.losses.float32 import at_least_float32
from bench.nn.ema import target_of
from bench.nn.encoder import Encoder
from bench.nn.heads import per_position, projection_mlp
from bench.nn.queue import Queue
from bench.nn.seeding import seeded
from bench.nn.shuffle import shuffled
from bench.objectives.momentum_contrast import MomentumContrast


@torch.no_grad()
@at_least_float32
def most_similar(x: Tensor, y: Tensor) -> Tensor:
    """Return for each position of one map the position of the other with the highest cosine: N×C×…, N×C×… -> N×S.

    Positions (int64) are counted row by row; S are those of x.
    """
    x, y = F.normalize(x.flatten(2), dim=1), F.normalize(y.flatten(2), dim=1)  # N×C×S, N×C×S′
    return (x.transpose(1, 2) @ y).argmax(dim=2)


class DenseCL(MomentumContrast):
    """DenseCL: MoCo v2, and the same contrast once more between positions of the feature maps."""

    definition: ClassVar[int] = 2  # a small crop that does not overlap after ten draws lies anywhere

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden_dim: Count = 2048,
        projection_dim: Count = 128,
        queue_size: Count = 65536,
        dense_queue_size: Count = 65536,
        temperature: Positive = 0.2,
        momentum: Share = 0.999,
        dense_weight: Rate = 0.5,
        crops: Whole = 0,
        crop_size: CropSize = 96,
        crop_scale: AreaRange = (0.05, 0.14),
        overlap: Share = 0.0,
    ) -> None:
        small_crops = {"crops": crops, "crop_size": crop_size, "crop_scale": crop_scale}
        dims = (hidden_dim, projection_dim)
        super().__init__(encoder, dims, queue_size, temperature, momentum, **small_crops)
        if dense_weight > 0:
            with seeded(encoder.seed, "dense heads"):
                self.dense_projector = projection_mlp((encoder.feature_dim, *dims), batch_norm=False)
            self.key_dense_projector = target_of(self.dense_projector)
            self.dense_queue = Queue(dense_queue_size, projection_dim, encoder.seed, "dense_queue_size")
        self.dense_weight, self.overlap = dense_weight, overlap

    def views(self, size: int) -> tuple[View, ...]:
        """The key's view, the query's, both as in MoCo v2, and the small crops, which are drawn by the key's."""
        key, query = MOCO_V2_VIEWS(size)
        return key, query, *self.small_crops(query, self.overlap)

    def check(self, batch_size: int, view_size: int) -> None:
        """Refuse a batch that the queues are no multiple of."""
        super().check(batch_size, view_size)
        if self.dense_weight > 0:
            self.dense_queue.check(batch_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, and with a dense weight above 0 loss_global and loss_dense, before their weights."""
        v_k, v_q, *crops = batch.views  # N×3×H×W, crops N×3×h×w
        f_q = self.encoder.last_map(v_q)  # N×C×h×w
        q = [self.projector(self.encoder.pool(f_q))]  # N×D
        if crops:
            q += self.projector(self.encoder(torch.cat(crops))).chunk(len(crops))
        with torch.no_grad():
            f_k = shuffled(self.key_encoder.last_map, v_k)  # N×C×h×w; the heads have no norms
            k = self.key_projector(self.key_encoder.pool(f_k))  # N×D
        loss_global = info_nce(torch.cat(q), k.repeat(len(q), 1), self.queue.keys.clone(), self.temperature)
        self.queue.push(_unit(k))
        if self.dense_weight == 0:
            return {"loss": loss_global}

        r = per_position(self.dense_projector, f_q).flatten(1, 2)  # N×S×D
        with torch.no_grad():
            t = per_position(self.key_dense_projector, f_k).flatten(1, 2)  # N×S×D
            c = most_similar(f_q, f_k)  # N×S
            positive = t.take_along_dim(c[..., None], dim=1)  # N×S×D, t_c
        negatives = self.dense_queue.keys.clone()
        loss_dense = info_nce(r.flatten(0, 1), positive.flatten(0, 1), negatives, self.temperature)
        self.dense_queue.push(_unit(t.mean(1)))
        loss = (1.0 - self.dense_weight) * loss_global + self.dense_weight * loss_dense
        return {"loss": loss, "loss_global": loss_global.detach(), "loss_dense": loss_dense.detach()}


@at_least_float32
def _unit(keys: Tensor) -> Tensor:
    """Rows over their norm, N×D."""
    return F.normalize(keys, dim=1)
