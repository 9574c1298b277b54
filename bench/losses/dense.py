"""Which positions of two views show the same spot, and how alike they are.

Source: the matching by place of Xie et al., "Propagate Yourself" (PixPro, CVPR 2021), section 3.1: two positions match
when the distance of their centres is below 0.7 of the larger bin diagonal.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.pairwise import distances


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
    diagonal = torch.maximum(_bin_diagonal(boxes1, *size1), _bin_diagonal(boxes2, *size2))
    return distances(centres(boxes1, *size1), centres(boxes2, *size2)) / diagonal[:, None, None] < ratio


def cosines_and_matches(p: Tensor, z: Tensor, boxes_p: Tensor, boxes_z: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Return the cosines of all pairs of positions, and 1 for the pairs that match, 0 for others: N×S×S′ each.

    Args:
        p: predictions at the positions of one view, N×h×w×D.
        z: targets at the positions of the other view, N×h′×w′×D.
        boxes_p, boxes_z: where the two views lie, N×5 (see `centres`).
        ratio: how far apart matching centres may lie, in bin diagonals.

    Raises ValueError when the shapes do not go together.
    """
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
