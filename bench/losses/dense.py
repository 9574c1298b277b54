"""Losses between positions of two views, and which positions of two views belong together.

Source: the matching by place of Xie et al., "Propagate Yourself" (PixPro, CVPR 2021), section 3.1: two positions match
when the distance of their centres is below 0.7 of the larger bin diagonal. The regression on matches is
BYOL's (Grill et al. 2020). The matching by similarity is that of Wang et al., "DenseCL" (CVPR 2021), eq. 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


def centres(boxes: Tensor, h: int, w: int) -> Tensor:
    """Return the (x, y) centres of a view's h×w bins within the whole image: boxes N×5 -> N×(h·w)×2, row by row.

    A box is (x0, y0, x1, y1, flipped), in [0, 1] of the image's width and height; in a flipped view the first column
    lies at x1.
    """
    x0, y0, x1, y1, flipped = boxes.unbind(1)
    across = (torch.arange(w, device=boxes.device, dtype=boxes.dtype) + 0.5) / w  # w
    down = (torch.arange(h, device=boxes.device, dtype=boxes.dtype) + 0.5) / h  # h
    share = torch.where(flipped[:, None] > 0.5, 1.0 - across, across)  # N×w
    x = x0[:, None] + share * (x1 - x0)[:, None]  # N×w
    y = y0[:, None] + down * (y1 - y0)[:, None]  # N×h
    n = len(boxes)
    return torch.stack([x[:, None, :].expand(n, h, w), y[:, :, None].expand(n, h, w)], dim=-1).reshape(n, h * w, 2)


def matches(boxes1: Tensor, boxes2: Tensor, size1: tuple[int, int], size2: tuple[int, int], ratio: float) -> Tensor:
    """Return which positions of view 1 and view 2 show the same spot: N×S1×S2, boolean; sizes are (h, w) of the maps.

    Two match when the distance of their centres over the larger of the two bin diagonals is below `ratio`.
    """
    distance = torch.cdist(
        centres(boxes1, *size1), centres(boxes2, *size2), compute_mode="donot_use_mm_for_euclid_dist"
    )
    diagonal = torch.maximum(_bin_diagonal(boxes1, *size1), _bin_diagonal(boxes2, *size2))
    return distance / diagonal[:, None, None] < ratio


@exact
def dense_regression(p: Tensor, z: Tensor, boxes_p: Tensor, boxes_z: Tensor, ratio: float = 0.7) -> Tensor:
    """Return one direction of the dense loss: the mean over images of the mean 2 − 2·cos(p_i, sg z_j) over matches.

    An image whose views share no spot adds 0 and stays in the mean, as in PixPro; so the mean over ranks is the loss of
    the whole batch. Scalar in [0, 4].

    Args:
        p: predictions at the positions of one view, N×h×w×D.
        z: targets at the positions of the other view, N×h′×w′×D; no gradient reaches them.
        boxes_p, boxes_z: where the two views lie, N×5 (see `centres`).
        ratio: how far apart matching centres may lie, in bin diagonals.

    Raises ValueError when the shapes do not go together.
    """
    cosine, matched = _cosine_and_matches(p, z.detach(), boxes_p, boxes_z, ratio)  # N×S×S′
    per_image = ((2.0 - 2.0 * cosine) * matched).sum((1, 2)) / matched.sum((1, 2)).clamp(min=1.0)
    return per_image.mean()


@exact
def dense_similarity(p: Tensor, z: Tensor, boxes_p: Tensor, boxes_z: Tensor, ratio: float = 0.7) -> Tensor:
    """Return the mean over images of the mean cos(p_i, sg z_j) over matches, as PixPro has it; scalar in [−1, 1].

    Arguments and images without a match are as in `dense_regression`.
    """
    cosine, matched = _cosine_and_matches(p, z.detach(), boxes_p, boxes_z, ratio)  # N×S×S′
    return ((cosine * matched).sum((1, 2)) / matched.sum((1, 2)).clamp(min=1.0)).mean()


@exact
def dense_contrast(
    p: Tensor, z: Tensor, boxes_p: Tensor, boxes_z: Tensor, temperature: float, ratio: float = 0.7
) -> Tensor:
    """Return PixContrast (Xie et al. 2021, eq. 2): −log of the share of matches in Σ_j exp(cos(p_i, sg z_j)/τ).

    j runs over all positions of the same image's other view. A mean over the positions that have a match, then over
    images; arguments and images without a match are as in `dense_regression`.
    """
    cosine, matched = _cosine_and_matches(p, z.detach(), boxes_p, boxes_z, ratio)  # N×S×S′
    logits, own = cosine / temperature, matched > 0
    positive = logits.masked_fill(~own, torch.finfo(logits.dtype).min)
    rows = logits.logsumexp(2) - positive.logsumexp(2)  # N×S
    some = own.any(2)
    return (torch.where(some, rows, 0.0).sum(1) / some.sum(1).clamp(min=1)).mean()


@torch.no_grad()
@exact
def most_similar(x: Tensor, y: Tensor) -> Tensor:
    """Return for each position of one map the position of the other with the highest cosine: N×C×…, N×C×… -> N×S.

    Positions (int64) are counted row by row; S are those of x.
    """
    x, y = F.normalize(x.flatten(2), dim=1), F.normalize(y.flatten(2), dim=1)  # N×C×S, N×C×S′
    return (x.transpose(1, 2) @ y).argmax(dim=2)


def _cosine_and_matches(p: Tensor, z: Tensor, boxes_p: Tensor, boxes_z: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Return the cosines of all pairs of positions, and 1 for the pairs that match, 0 for others: N×S×S′ each."""
    n = len(p)
    fits = p.dim() == z.dim() == 4 and n == len(z) and p.shape[-1] == z.shape[-1]
    if not fits or boxes_p.shape != (n, 5) or boxes_z.shape != (n, 5):
        shapes = [tuple(tensor.shape) for tensor in (p, z, boxes_p, boxes_z)]
        raise ValueError(f"dense regression wants N×h×w×D, N×h′×w′×D, N×5 and N×5, got {shapes}")
    (h, w), (h_z, w_z) = p.shape[1:3], z.shape[1:3]
    matched = matches(boxes_p, boxes_z, (h, w), (h_z, w_z), ratio).to(p.dtype)
    cosine = F.normalize(p.flatten(1, 2), dim=2) @ F.normalize(z.flatten(1, 2), dim=2).transpose(1, 2)
    return cosine, matched


def _bin_diagonal(boxes: Tensor, h: int, w: int) -> Tensor:
    """Return the diagonal of one bin of each view, N."""
    x0, y0, x1, y1, _ = boxes.unbind(1)
    return torch.hypot((x1 - x0) / w, (y1 - y0) / h)
