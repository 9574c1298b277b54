"""Triplets with a margin between unsquared distances of unit vectors.

Source: the deck's max{d(x, x⁺) − d(x, x⁻) + α, 0} with the distance and the margin of DSM (Wang et al., AAAI 2021).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


@exact
def hinge(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Return the mean over rows of max(0, d(a, p) − d(a, n) + α): N×D each -> scalar ≥ 0; α where n looks like p.

    d is the distance ‖n(x) − n(y)‖ of the unit vectors, in [0, 2].
    """
    return F.relu(distance(anchor, positive) - distance(anchor, negative) + margin).mean()


@exact
def hinge_over_others(anchor: Tensor, positive: Tensor, others: Tensor, margin: float, first: int = 0) -> Tensor:
    """Return the mean over rows and over all other clips of max(0, d(a, p) − d(a, o) + α).

    Args:
        anchor, positive: n×D, of this rank.
        others: N×D, of all ranks; the row `first + i` belongs to row i and is left out.
        margin: α.
        first: the row of `others` that belongs to the first anchor.
    """
    n, total = len(anchor), len(others)
    near = distance(anchor, positive)[:, None]  # n×1
    far = distance(anchor[:, None], others[None])  # n×N
    terms = F.relu(near - far + margin)
    own = F.one_hot(first + _range(n, terms), total).bool()
    return terms.masked_fill(own, 0.0).sum() / (n * max(1, total - 1))


def distance(x: Tensor, y: Tensor) -> Tensor:
    """Return ‖n(x) − n(y)‖ over the last axis; its gradient is 0 where both are the same."""
    squared = (F.normalize(x, dim=-1) - F.normalize(y, dim=-1)).square().sum(-1)
    positive = squared > 0
    return squared.where(positive, squared.new_ones(())).sqrt() * positive


def _range(n: int, like: Tensor) -> Tensor:
    return like.new_ones(n).cumsum(0).long() - 1
