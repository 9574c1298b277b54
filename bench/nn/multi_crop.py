"""Views of several resolutions through one network.

Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (SwAV, NeurIPS
2020), section 3.2: a few full views, and small crops that cost a fraction of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor


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


def project_together(
    encoder: Callable[[Tensor], Tensor], head: Callable[[Tensor], Tensor], views: Sequence[Tensor], parts: int = 1
) -> list[Tensor]:
    """Return head(encoder(v)) N×D for each view v N×3×h×w, with one forward of the head for all of them.

    The encoder has a forward for each resolution (`by_resolution`), the head one for the features of all views, so that
    a batch norm in it has the statistics of full views and small crops together (swav/src/resnet50.py:308-323,
    dino/utils.py:610-629). With several parts, equal shares of the images have statistics of their own.
    """
    features = by_resolution(encoder, views, parts)  # N×F of each view
    by_part = zip(*(each.chunk(parts) for each in features), strict=True)
    outputs = [head(torch.cat(part)).chunk(len(features)) for part in by_part]
    return [torch.cat(of_view) for of_view in zip(*outputs, strict=True)]
