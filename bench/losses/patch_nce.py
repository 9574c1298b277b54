"""InfoNCE over the positions of all images, by inner products as they are.

Source: van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding" (2018), eq. 3 and 4.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


@exact
def position_nce(predictions: Tensor, targets: Tensor, positives: Tensor) -> Tensor:
    """Return the mean over predictions of −log softmax(predictions·targets) at each one's positive.

    Args:
        predictions: M×D, W_k·c of this rank.
        targets: T×D, z of all positions of all images of all ranks: all but the positive are negatives.
        positives: M int64, rows of targets.
    """
    return F.cross_entropy(predictions @ targets.T, positives)
