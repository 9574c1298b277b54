"""Views of several resolutions through one network, and checks of the settings of small crops.

Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (SwAV, NeurIPS
2020), section 3.2: a few full views, and small crops that cost a fraction of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from bench.errors import BadInput

SMALLEST = 32  # pixels: one position of C5


def by_resolution(network: Callable[[Tensor], Tensor], views: Sequence[Tensor], parts: int = 1) -> list[Tensor]:
    """Return the network's output N×… for each view N×3×h×w, by one forward for each run of views of one size.

    A batch norm's statistics differ between resolutions: it takes them over all views of one run, and not over two
    sizes. With several parts, equal shares of the images go through one after another, each with its statistics, as on
    several processes.
    """
    outputs: list[Tensor] = []
    for _, run in groupby(views, key=lambda view: view.shape[-2:]):
        same = [view.chunk(parts) for view in run]
        by_part = [network(torch.cat(part)).chunk(len(same)) for part in zip(*same, strict=True)]
        outputs += [torch.cat(of_view) for of_view in zip(*by_part, strict=True)]
    return outputs


def check_crops(crops: int, size: int, scale: Sequence[float]) -> None:
    """Raise BadInput for settings `crops`, `crop_size` and `crop_scale` that no small crop can have."""
    if crops < 0:
        raise BadInput(f"objective.crops is {crops}; set it to 0 (no small crops) or more.")
    if size < SMALLEST:
        raise BadInput(f"objective.crop_size is {size}; set it to {SMALLEST} pixels or more.")
    if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
        raise BadInput(f"objective.crop_scale is {tuple(scale)}; give two ascending shares of the area in (0, 1].")


def check_smaller(crops: int, size: int, view_size: int) -> None:
    """Raise BadInput for crops of the size of the full views or above: they would share a forward with them."""
    if crops and size >= view_size:
        raise BadInput(
            f"objective.crop_size is {size}, no smaller than the views; set it below view_size, {view_size}."
        )
