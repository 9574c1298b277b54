"""The exact likelihood of 8-bit pixels under an autoregressive model.

Source: van den Oord et al., "Pixel Recurrent Neural Networks" (ICML 2016), eq. 1 and 2, section 3.4.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


@exact
def pixel_nll(logits: Tensor, pixels: Tensor) -> Tensor:
    """Return the mean over images of −Σ log softmax_256, in nats: logits N×256×3×H×W, pixels N×3×H×W int64."""
    return F.cross_entropy(logits, pixels, reduction="sum") / len(pixels)


def bits_per_dim(nats: Tensor, values: int) -> Tensor:
    """Return nats of an image of so many values as bits for each; 8 where every grey level is as likely."""
    return nats / (math.log(2) * values)
