"""How far a decoder's image is from the true one, in nats or squared; sums over values unless a mean is said.

Source: Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders" (ICML 2008), section 2;
Kingma and Welling, "Auto-Encoding Variational Bayes" (ICLR 2014), appendix C.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


@exact
def squared_error(y: Tensor, x: Tensor) -> Tensor:
    """Return the mean over images of ‖x − y‖², a sum over an image's values: N×…, N×… -> scalar."""
    return (x - y).square().flatten(1).sum(1).mean()


@exact
def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """Return the mean over images of −Σ x·log σ(y) + (1 − x)·log(1 − σ(y)): logits y N×…, x N×… in [0, 1]."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


@exact
def gaussian_nll(y: Tensor, x: Tensor, sigma: float) -> Tensor:
    """Return the mean over images of −log N(x; y, σ²·1), its constant included: N×…, N×… -> scalar, in nats."""
    constant = math.log(sigma) + 0.5 * math.log(2 * math.pi)
    return 0.5 * squared_error(y, x) / sigma**2 + constant * x[0].numel()


@exact
def banded_squared_error(y: Tensor, x: Tensor, band: int, band_weight: float) -> Tensor:
    """Return the mean over images and values of w·(x − y)², w = band_weight in the outer band, 1 inside: N×C×S×S.

    Source: Pathak et al., "Context Encoders" (CVPR 2016), section 3.2, and the reference implementation (a mean).
    """
    size = x.shape[-1]
    weight = torch.full((size, size), band_weight, dtype=x.dtype, device=x.device)
    weight[band : size - band, band : size - band] = 1.0
    return (weight * (x - y).square()).mean()
