"""Colours as classes: bins of the ab plane, and soft labels over them.

Source: Zhang, Isola and Efros, "Colorful Image Colorization" (ECCV 2016), sections 2.1 and 2.2, and the reference
implementation, richzhang/colorization.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from bench.nn.colour import lab, normalised_rgb

GRID = 10  # units of a and b between bins
NEIGHBOURS, SIGMA = 10, 5.0  # of the soft labels: resources/caffe_traininglayers.py, NNEncLayer; the paper has five
PIXELS = 2**16  # whose distances to all bins are held at once


@cache
def _gamut() -> Tensor:
    # All colours project onto the same part of the ab plane as the six faces of the RGB cube.
    level = torch.linspace(0, 1, 52, dtype=torch.float64)
    one, other = torch.meshgrid(level, level, indexing="ij")
    faces = []
    for axis in range(3):
        for end in (0.0, 1.0):
            face = [one, other]
            face.insert(axis, torch.full_like(one, end))
            faces.append(torch.stack(face))
    ab = lab(normalised_rgb(torch.stack(faces)))[:, 1:].movedim(1, -1).reshape(-1, 2)
    angle = torch.arange(720, dtype=torch.float64) * (torch.pi / 360)
    direction = torch.stack([angle.cos(), angle.sin()], dim=1)  # K×2
    reach = (direction @ ab.T).amax(1)  # K: how far the colours, and so their convex hull, go each way
    multiples = torch.arange(-12, 13, dtype=torch.float64) * GRID
    grid = torch.cartesian_prod(multiples, multiples)
    # The distance in the maximum norm is the largest overshoot along a direction of 1-norm 1.
    distance = ((grid @ direction.T - reach) / direction.abs().sum(1)).amax(1)
    return grid[distance < GRID]


def gamut_bins() -> Tensor:
    """Return the centres (a, b) of the paper's 313 bins, 313×2 float32, in lexicographic order.

    Multiples of 10 less than 10 away, in the maximum norm, from the convex hull of the colours of sRGB in the ab plane.
    The paper gives no rule; these are the points of the reference implementation (resources/pts_in_hull.npy), in their
    order. The nearest cases are 9.73 away (in) and 10.07 (out).
    """
    return _gamut().float()


@torch.no_grad()
def soft_labels(ab: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ten bins that are nearest to each pixel, nearest first, and their shares: both N×10×h×w.

    Shares are Gaussian in the distance (σ = 5) and sum to 1. Memory is that of 65,536 pixels' distances, and of the
    result.

    Args:
        ab: N×2×h×w.
        bins: Q×2.
    """
    n, _, h, w = ab.shape
    pixels = ab.movedim(1, -1).reshape(-1, 2)
    centres = bins.to(pixels)
    found = [_nearest(part, centres) for part in pixels.split(PIXELS)]
    distance, nearest = (torch.cat(parts) for parts in zip(*found, strict=True))
    shares = torch.softmax(-distance.square() / (2 * SIGMA**2), dim=1)
    return nearest.view(n, h, w, -1).movedim(-1, 1), shares.view(n, h, w, -1).movedim(-1, 1)


def _nearest(pixels: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    # Not by a matrix product, which cancels digits: nearest bins would depend on the kernel.
    between = torch.cdist(pixels, centres, compute_mode="donot_use_mm_for_euclid_dist")  # pixels×Q
    distance, nearest = between.topk(NEIGHBOURS, dim=1, largest=False)
    return distance, nearest
