"""Swapped prediction: the codes of one view are predicted from the other views.

Source: Caron et al., "SwAV" (NeurIPS 2020), eq. 2. Values agree with lightly's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.classification import distribution_cross_entropy
from bench.losses.float32 import at_least_float32


@at_least_float32
def prototype_scores(z: Tensor, prototypes: Tensor) -> Tensor:
    """Return the cosine of each embedding and the product with each prototype, n(z)·c: n×D, C×D -> n×C.

    The prototypes are taken as they are; SwAV's have unit length.
    """
    return F.normalize(z, dim=1) @ prototypes.T


def swapped_prediction(scores: Sequence[Tensor], codes: Sequence[Tensor], temperature: float) -> Tensor:
    """Return the mean over views i with codes of the mean over other views v of −Σ_c q_i·log softmax(scores_v/τ).

    Args:
        scores: n×C of each view; those with codes come first.
        codes: n×C of the first views; no gradient reaches them.
        temperature: τ.

    Its value is ln C as long as all prototypes look alike.
    """
    rows: list[Tensor] = []
    for i, q in enumerate(codes):
        rows += [distribution_cross_entropy(s / temperature, q) for v, s in enumerate(scores) if v != i]
    return torch.stack(rows).mean()  # every view with codes has equally many others
