"""Balanced losses over plain cosines: a pair of the same image against pairs of different images.

Source: no paper has them in this form. `logistic` is the NT-Logistic loss of Chen et al., "A Simple Framework for
Contrastive Learning" (ICML 2020, table 2) at temperature 1, with positives and negatives averaged by themselves, so
that its value does not depend on the number of images: it lies in [.3133, 1.3133], and is .5032 for positives at cosine
1 and negatives at 0. `least_squares` is the same with squared distances to 1 and -1 (as in LSGAN, Mao et al., ICCV
2017): in [0, 4], and .5 for positives at 1 and negatives at 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


@exact
def logistic(p: Tensor, z: Tensor, first: int = 0) -> Tensor:
    """Return ½·[mean softplus(−s⁺) + mean softplus(s⁻)] with s_ij = cos(p_i, sg z_j), a scalar.

    s⁺ are the pairs of the same image, s⁻ all pairs of different ones; the means are over n and n·(N − 1) pairs.

    Args:
        p: predictions n×D, of this rank.
        z: targets N×D, of all ranks; no gradient reaches them.
        first: the row of z that belongs to the first row of p.

    The mean of this over ranks with n rows each is the loss of the whole batch. Raises ValueError for rows that do not
    go together, and for fewer than two images (there would be no negative pair).
    """
    return _balanced(p, z, first, lambda s: F.softplus(-s), F.softplus)


@exact
def least_squares(p: Tensor, z: Tensor, first: int = 0) -> Tensor:
    """Return ½·[mean (1 − s⁺)² + mean (1 + s⁻)²] with s_ij = cos(p_i, sg z_j), a scalar; all else as in `logistic`."""
    return _balanced(p, z, first, lambda s: (1 - s).square(), lambda s: (1 + s).square())


def _balanced(
    p: Tensor, z: Tensor, first: int, near: Callable[[Tensor], Tensor], far: Callable[[Tensor], Tensor]
) -> Tensor:
    """Half the sum of two means: of `near` over the cosines of same images, of `far` over those of different ones."""
    n, total = len(p), len(z)
    if p.dim() != 2 or z.dim() != 2 or p.shape[1] != z.shape[1] or not 0 <= first <= total - n:
        raise ValueError(
            f"rows {first}…{first + n} of targets {tuple(z.shape)} do not fit predictions {tuple(p.shape)}"
        )
    if total < 2:
        raise ValueError("a loss over pairs needs at least two images: its negative pairs are of different images")
    s = F.normalize(p, dim=1) @ F.normalize(z.detach(), dim=1).T
    same = torch.zeros_like(s, dtype=torch.bool)
    same[:, first : first + n].fill_diagonal_(True)
    positive = near(s[same]).mean()
    negative = far(s).masked_fill(same, 0.0).sum() / (n * (total - 1))
    return 0.5 * (positive + negative)
