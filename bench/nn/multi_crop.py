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
