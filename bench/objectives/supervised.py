"""Supervised classification: the control that has seen labels.

Claim:     about 76 % ImageNet top-1 with ResNet-50 (90 epochs).
Paper:     He et al., "Deep Residual Learning for Image Recognition" (2016); recipe of Goyal et al. (2017).
Equation:  loss = −log softmax(fc(f(v)))_label, a mean over images.
Reference: torchvision's classification training.
Departs from it: nothing in the loss; the classifier is beside the encoder, not part of it.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from bench.data.views import Batch
from bench.errors import BadInput
from bench.losses.classification import classified
from bench.nn.encoder import Encoder
from bench.nn.seeding import seeded
from bench.objectives.one_crop import OneCrop


class Supervised(OneCrop):
    """Supervised classification: the control that has seen labels."""

    norm_groups: ClassVar[bool] = True
    mean_over_images: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, num_classes: int = 0) -> None:
        super().__init__(encoder)
        if num_classes < 2:
            raise BadInput("The supervised objective needs a data set with classes; use imagenet or imagenet100.")
        with seeded(encoder.seed, "classifier"):
            self.fc = nn.Linear(encoder.feature_dim, num_classes)  # torch's start, which is torchvision's, too

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, top1_percent."""
        if batch.labels is None:
            raise BadInput("The supervised objective needs labels, and this data set has none; use imagenet.")
        (v,) = batch.views  # N×3×H×W
        logits = self.fc(self.encoder(v))  # N×C
        return classified(logits, batch.labels)
