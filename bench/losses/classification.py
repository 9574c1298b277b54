"""Cross entropy, and how often the largest logit is right."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.float32 import at_least_float32


@at_least_float32
def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return mean −log softmax(logits)_label: logits N×C, labels N (int64) -> scalar."""
    return F.cross_entropy(logits, labels)


def classified(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return an objective's terms loss (the cross entropy) and top1_percent: N×C, N -> scalars."""
    return {"loss": cross_entropy(logits, labels), "top1_percent": top1_percent(logits, labels)}


@at_least_float32
def distribution_cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """Return mean −Σ_c shares_c·log softmax(logits)_c: N×C, N×C -> scalar. No gradient reaches the shares.

    From log-softmax, so that a class that the logits rule out costs much, not infinity.
    """
    return -(shares.detach() * F.log_softmax(logits, dim=1)).sum(1).mean()


@torch.no_grad()
def top1_percent(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the share of rows whose largest logit is the label's, in percent: N×C, N -> scalar float32."""
    return 100.0 * (logits.argmax(dim=1) == labels).float().mean()
