"""How far a decoder's image is from the true one, in nats or squared: sums over an image's values.

Source: Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders" (ICML 2008), section 2;
Kingma and Welling, "Auto-Encoding Variational Bayes" (ICLR 2014), appendix C.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from bench.losses.float32 import at_least_float32


@at_least_float32
def squared_error(y: Tensor, x: Tensor) -> Tensor:
    """Return the mean over images of ‖x − y‖², a sum over an image's values: N×…, N×… -> scalar."""
    return (x - y).square().flatten(1).sum(1).mean()


@at_least_float32
def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """Return the mean over images of −Σ x·log σ(y) + (1 − x)·log(1 − σ(y)): logits y N×…, x N×… in [0, 1]."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


@at_least_float32
def pixel_nll(logits: Tensor, pixels: Tensor) -> Tensor:
    """Return the mean over images of −Σ log softmax_256, in nats: logits N×256×3×H×W, pixels N×3×H×W int64."""
    return F.cross_entropy(logits, pixels, reduction="sum") / len(pixels)


def bits_per_dim(nats: Tensor, values: int) -> Tensor:
    """Return nats of an image of so many values as bits for each; 8 where every grey level is as likely."""
    return nats / (math.log(2) * values)
