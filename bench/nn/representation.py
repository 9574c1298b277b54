"""Measures of a representation: does it spread, over how many dimensions, and do classes lie together?

    deviation        mean over dimensions of std(n(z)): 1/√D where it spreads over the sphere, 0 where it collapsed
    spectrum         singular values of the centred covariance of n(z) (Jing et al. 2022)
    effective_rank   exp of the entropy of singular values (Roy and Vetterli 2007)
    rankme           the same of embeddings that are neither centred nor normalised (Garrido et al. 2023)
    tolerance        mean cosine of two images of one class (Wang and Liu 2021)
    knn_percent      how often the nearest neighbours vote for the right class (Wu et al. 2018)

Alignment and uniformity are in `bench/losses/uniformity.py`. n(z) = z/‖z‖. All is computed in float64, as float32 would
round the small singular values away. Nothing here carries a gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.nn.neighbours import vote

RANKME_EPSILON = 1e-7  # the paper's: added to each share of the singular values


def _unit(z: Tensor) -> Tensor:
    return F.normalize(z.detach().double(), dim=1)


def deviation(z: Tensor) -> Tensor:
    """Return the mean over dimensions of the (unbiased) standard deviation of n(z): N×D -> scalar in [0, ~1/√D].

    Source: Chen and He, "Exploring Simple Siamese Representation Learning" (CVPR 2021), fig. 2. Raises ValueError for
    fewer than two rows.
    """
    if len(z) < 2:
        raise ValueError("a deviation needs at least two rows")
    return _unit(z).std(dim=0).mean()


def singular_values(z: Tensor) -> Tensor:
    """Return the min(N, D) singular values of a matrix N×D, the largest first, float64.

    A tall matrix is reduced first, some rows at a time, to the triangle R of its QR decomposition, which has the same
    singular values.
    """
    n, d = z.shape
    rows = z.detach()
    if n <= 4 * d:
        return torch.linalg.svdvals(rows.double())
    triangle = rows.new_zeros(0, d, dtype=torch.float64)
    for part in rows.split(4 * d):
        triangle = torch.linalg.qr(torch.cat([triangle, part.double()]), mode="r").R
    return torch.linalg.svdvals(triangle)


def centred(z: Tensor) -> Tensor:
    """Return n(z) less its mean over rows: N×D -> N×D float64."""
    unit = _unit(z)
    return unit - unit.mean(dim=0)


def spectrum(z: Tensor) -> Tensor:
    """Return the singular values of C = 1/N Σ(n(z) − mean)(n(z) − mean)ᵀ, the largest first: N×D -> D, float64.

    Source: Jing et al., "Understanding Dimensional Collapse in Contrastive Self-supervised Learning" (ICLR 2022), who
    plot their logarithms; embeddings are normalised first, as in the authors' script. They come from the rows
    themselves, whose singular values are s = √(N·σ): forming C first would lose half of the digits. With N < D at
    least D − N + 1 of them are 0.
    """
    values = singular_values(centred(z)).square() / len(z)
    return F.pad(values, (0, z.shape[1] - len(values)))


def effective_rank(values: Tensor, epsilon: float = 0.0) -> Tensor:
    """Return exp(−Σ p log p), p = σ/Σσ + ε, of singular values: K -> scalar in [1, K], 0 where all are 0.

    Source: Roy and Vetterli, "The effective rank: a measure of effective dimensionality" (2007). Eigenvalues of a
    covariance are squares of its rows' singular values, and give another (smaller) number.
    """
    total = values.sum()
    if total <= 0:
        return torch.zeros((), dtype=values.dtype)
    p = values / total + epsilon
    return torch.special.entr(p).sum().exp()  # entr(0) = 0


def rankme(z: Tensor) -> Tensor:
    """Return the effective rank of embeddings as they are: N×D -> scalar in [1, min(N, D)], up to ε.

    Source: Garrido et al., "RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised Representations
    by Their Rank" (ICML 2023), eq. 1: neither centred nor normalised, ε = 1e-7. It can't exceed N: to be an estimate
    of the rank and not of N, it wants N ≥ 4·D or so.
    """
    return effective_rank(singular_values(z), RANKME_EPSILON)


def tolerance(z: Tensor, labels: Tensor) -> Tensor | None:
    """Return the mean of n(z_i)·n(z_j) over pairs i ≠ j of one label, None where there is no such pair: N×D, N.

    Source: Wang and Liu, "Understanding the Behaviour of Contrastive Loss" (CVPR 2021), who write E[f(x)ᵀf(y)·1{same}].
    Here it is the mean over pairs of the same class: theirs shrinks with the number of classes, so that data sets could
    not be compared.
    """
    unit = _unit(z)
    _, group = labels.unique(return_inverse=True)
    sums = unit.new_zeros(int(group.max()) + 1, unit.shape[1]).index_add_(0, group, unit)
    counts = torch.bincount(group).double()
    pairs = (counts * (counts - 1)).sum()
    if pairs == 0:
        return None
    return (sums.square().sum() - unit.square().sum()) / pairs


def log_uniformity(z: Tensor, t: float = 2.0, chunk: int = 1024) -> float:
    """Return the same as `uniformity` for N×D, `chunk` rows at a time: memory is N × chunk."""
    unit, total = _unit(z), -torch.inf
    n = len(unit)
    if n < 2:
        raise ValueError("uniformity needs at least two rows: it is over pairs of different ones")
    for start in range(0, n, chunk):
        exponents = 2.0 * t * (unit[start : start + chunk] @ unit.t() - 1.0)
        row = torch.arange(len(exponents), device=unit.device)
        exponents[row, start + row] = -torch.inf  # a row with itself
        total = float(torch.logaddexp(torch.tensor(total, dtype=torch.float64), exponents.logsumexp(dim=(0, 1)).cpu()))
    return total - math.log(n * (n - 1))


def knn_percent(
    queries: Tensor,
    labels: Tensor,
    bank: Tensor | None,
    bank_labels: Tensor | None,
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 1024,
) -> float:
    """Return how many queries, in percent, their nearest neighbours by cosine vote into the right class.

    Args:
        queries: N×D.
        labels: N, int64.
        bank: M×D; None: the queries themselves, each without itself (leave one out).
        bank_labels: M; None with `bank`.
        k: neighbours that vote, at most as many as there are.
        temperature: τ; a neighbour of cosine s votes exp(s/τ).
        chunk: queries at once.
    """
    unit = _unit(queries).float()
    rows = unit if bank is None else _unit(bank).float()
    votes = labels if bank_labels is None else bank_labels
    k = min(k, len(rows) - (bank is None))
    classes = int(torch.maximum(labels.max(), votes.max())) + 1
    right = 0
    for start in range(0, len(unit), chunk):
        scores = unit[start : start + chunk] @ rows.t()
        if bank is None:
            row = torch.arange(len(scores), device=scores.device)
            scores[row, start + row] = -torch.inf
        best, positions = scores.topk(k, dim=1)
        ranked = vote(best, votes[positions], classes, temperature)
        right += int((ranked[:, 0] == labels[start : start + chunk]).sum())
    return 100.0 * right / len(unit)
