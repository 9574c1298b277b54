"""Colours as classes: bins of the ab plane, and soft labels over them.

Source: Zhang, Isola and Efros, "Colorful Image Colorization" (ECCV 2016), sections 2.1 and 2.2.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from bench.nn.colour import MEAN, STD, lab

GRID = 10  # units of a and b between bins
NEIGHBOURS, SIGMA = 5, 5.0  # of the soft labels


@cache
def _gamut() -> Tensor:
    # All colours project onto the same part of the ab plane as the six faces of the RGB cube.
    level = torch.arange(256, dtype=torch.float64) / 255
    one, other = torch.meshgrid(level, level, indexing="ij")
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (MEAN, STD))
    cells = []
    for axis in range(3):
        for end in (0.0, 1.0):
            face = [one, other]
            face.insert(axis, torch.full_like(one, end))
            ab = lab(((torch.stack(face) - mean) / std)[None])[0, 1:]  # 2×256×256
            cells.append((ab / GRID).round().flatten(1).unique(dim=1))
    return torch.cat(cells, dim=1).unique(dim=1).T * GRID


def gamut_bins() -> Tensor:
    """Return the centres (a, b) of the bins in the gamut of sRGB, Q×2 float32, in lexicographic order.

    Multiples of 10 to which a colour of 8-bit sRGB is nearest, whatever its lightness. They are 261; the paper
    has 313, by a rule that it does not give, so that labels and weights differ at the gamut's rim.
    """
    return _gamut().float()


@torch.no_grad()
def soft_labels(ab: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """Return the five bins that are nearest to each pixel, nearest first, and their shares: both N×5×h×w.

    Shares are Gaussian in the distance (σ = 5) and sum to 1.

    Args:
        ab: N×2×h×w.
        bins: Q×2.
    """
    n, _, h, w = ab.shape
    pixels = ab.movedim(1, -1).reshape(-1, 2)
    squared = (pixels[:, None] - bins.to(pixels)).square().sum(2)  # Nhw×Q
    squared, nearest = squared.topk(NEIGHBOURS, dim=1, largest=False)
    shares = torch.softmax(-squared / (2 * SIGMA**2), dim=1)
    return nearest.view(n, h, w, -1).movedim(-1, 1), shares.view(n, h, w, -1).movedim(-1, 1)
