"""Nine patches of an image, cut from the cells of a 3×3 grid.

Source: Noroozi and Favaro, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles" (ECCV 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.nn import draws

GRID = 3
PATCHES = GRID * GRID


def patches(images: Tensor, size: int) -> Tensor:
    """Cut images N×3×H×H into cells, and a patch out of each at a random place: N×9×3×size×size, row by row.

    Raises ValueError for patches larger than a cell.
    """
    n, cell = len(images), images.shape[-1] // GRID
    if size > cell:
        raise ValueError(f"patches of {size} pixels do not fit into cells of {cell}")
    corner = draws.integers(n, PATCHES, 2, high=cell - size + 1, device=images.device)  # row, column in the cell
    place = torch.arange(size, device=images.device)
    first = torch.arange(PATCHES, device=images.device)
    row = (first // GRID * cell + corner[..., 0])[..., None] + place  # N×9×size
    column = (first % GRID * cell + corner[..., 1])[..., None] + place
    which = torch.arange(n, device=images.device)[:, None, None, None]
    cut = images.permute(0, 2, 3, 1)[which, row[..., :, None], column[..., None, :]]  # N×9×size×size×3
    return cut.permute(0, 1, 4, 2, 3)
