"""Rotation prediction: by which multiple of 90° was the image rotated?

Claim:     47.0 % ImageNet linear top-1 with ResNet-50 (mmselfsup, 70 epochs: `imagenet_rotation`). VISSL's 48.2 % is of
           105 epochs on one rotation of each image, turned before the crop, and of linear classifiers on pooled maps.
Paper:     Gidaris, Singh and Komodakis, "Unsupervised Representation Learning by Predicting Image Rotations"
           (ICLR 2018), eq. 2 and 3.
Equation:  loss = −(1/4N)·Σ_i Σ_r log softmax(W·f(rot(v_i, 90°·r)))_r, r ∈ {0, 1, 2, 3}, counter-clockwise.
Reference: gidariss/FeatureLearningRotNet: all four rotations of each image in a batch (dataloader.py:261-274).
Departs from it: a ResNet-50 with one linear layer on its pooled feature, as in mmselfsup and VISSL (there: AlexNet).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.data.views import Batch
from bench.losses.classification import classified
from bench.nn.encoder import Encoder
from bench.nn.seeding import seeded
from bench.objectives.one_crop import OneCrop


class Rotation(OneCrop):
    """Rotation prediction: all four rotations of each image in one batch, and a 4-way classifier."""

    norm_groups: ClassVar[bool] = True
    mean_over_images: ClassVar[bool] = True

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        with seeded(encoder.seed, "rotation classifier"):
            self.classifier = nn.Linear(encoder.feature_dim, 4)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, top1_percent (of the rotations, 25 by chance)."""
        (v,) = batch.views  # N×3×H×H
        x = torch.cat(rotations(v))  # 4N×3×H×H; in one forward, or batch statistics would tell the rotation
        r = torch.arange(4, device=x.device).repeat_interleave(len(v))  # 4N
        logits = self.classifier(self.encoder(x))  # 4N×4
        return classified(logits, r)


def rotations(images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return square images N×3×H×H turned by 0°, 90°, 180° and 270° counter-clockwise.

    By transposes and flips alone: the very same pixels, no interpolation and no black corners, which would tell.
    """
    turned = images.transpose(2, 3)
    return images, turned.flip(2), images.flip(2, 3), turned.flip(3)
