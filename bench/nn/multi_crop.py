"""Views of several resolutions through one network.

Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (SwAV, NeurIPS
2020), section 3.2: a few full views, and small crops that cost a fraction of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor


def by_resolution(network: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> list[Tensor]:
    """Return the network's output N×… for each view N×3×h×w, by one forward for each run of views of one size.

    A batch norm's statistics differ between resolutions: it takes them over all views of one run, and not over two
    sizes.
    """
    outputs: list[Tensor] = []
    for _, run in groupby(views, key=lambda view: view.shape[-2:]):
        same = list(run)
        outputs += network(torch.cat(same)).chunk(len(same))
    return outputs


def project_together(
    encoder: Callable[[Tensor], Tensor], head: Callable[[Tensor], Tensor], views: Sequence[Tensor]
) -> list[Tensor]:
    """Return head(encoder(v)) N×D for each view v N×3×h×w, with one forward of the head for all of them.

    The encoder has a forward for each resolution (`by_resolution`), the head one for the features of all views, so that
    a batch norm in it has the statistics of full views and small crops together (swav/src/resnet50.py:308-323,
    dino/utils.py:610-629).
    """
    return list(head(torch.cat(by_resolution(encoder, views))).chunk(len(views)))
