"""Cross entropy, and how often the largest logit is right."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.losses.precision import exact


@exact
def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return mean −log softmax(logits)_label: logits N×C, labels N (int64) -> scalar."""
    return F.cross_entropy(logits, labels)


@torch.no_grad()
def top1_percent(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the share of rows whose largest logit is the label's, in percent: N×C, N -> scalar float32."""
    return 100.0 * (logits.argmax(dim=1) == labels).float().mean()
