"""The loss of full views and of small crops, on the scale of the former.

Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (SwAV, NeurIPS
2020), section 3.2, where every view counts alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def with_crops(loss: Tensor, small: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return (loss + Σ_c ℓ_c) / (1 + C) as `loss`, with its parts, detached; without crops, the loss alone.

    Args:
        loss: of the full views as anchors, a mean over both of them.
        small: ℓ_c of each small crop as the anchor, a mean over both full views as positives.

    With anchors of N images that is the mean over all 2 + 2·C pairs of an anchor and a positive of a full view, so
    that the scale is that of two views. Parts: loss_global, and loss_crops, the mean of ℓ_c.
    """
    if not small:
        return {"loss": loss}
    loss_crops = torch.stack(list(small)).mean()
    total = (loss + len(small) * loss_crops) / (1 + len(small))
    return {"loss": total, "loss_global": loss.detach(), "loss_crops": loss_crops.detach()}
