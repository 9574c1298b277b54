"""Cross entropy of soft labels that have few classes each, weighted by class.

Source: Zhang, Isola and Efros, "Colorful Image Colorization" (ECCV 2016), eq. 2.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bench.losses.float32 import at_least_float32


@at_least_float32
def soft_cross_entropy(
    logits: Tensor,
    classes: Tensor,
    shares: Tensor,
    weights: Tensor | None = None,
    counted: Tensor | None = None,
) -> Tensor:
    """Return the mean over pixels of −v·Σ_k shares_k·log softmax(logits)_classes_k, v the weight of the first class.

    Args:
        logits: N×Q×h×w.
        classes: N×K×h×w int64, the likeliest first.
        shares: N×K×h×w, summing to 1 over K.
        weights: Q; None weighs all classes alike.
        counted: N bool; the pixels of other images have v = 0 (and are in the mean). None counts all.
    """
    entropy = -(shares * F.log_softmax(logits, dim=1).gather(1, classes)).sum(1)  # N×h×w
    if weights is not None:
        entropy = weights[classes[:, 0]] * entropy
    if counted is not None:
        entropy = counted[:, None, None].to(entropy.dtype) * entropy
    return entropy.mean()
