"""Objectives of clips."""

from __future__ import annotations

import torch
from cases import Case, images_batch

from bench.data.views import Batch

HEADS = {"hidden_dim": 12, "projection_dim": 6}


def clips(window: int, views: int, flows: int = 0):
    def make(n: int) -> Batch:
        batch = images_batch(n, (32,) * views)
        generator = torch.Generator().manual_seed(7)
        noise = torch.randn(views, n, window, 3, 32, 32, dtype=torch.float64, generator=generator)
        batch.views = [0.5 * view[:, None] + part for view, part in zip(batch.views, noise, strict=True)]
        flow = 4 * torch.randn(n, window - 1, 2, 32, 32, dtype=torch.float64, generator=generator)
        batch.flows = [flow] * flows or None
        return batch

    return make


DSM = frozenset({"loss", "loss_intra", "loss_inter", "top1_percent"})
CASES = {
    "taco": Case(
        {"name": "taco", "frames": 3, **HEADS},
        (32, 32),
        frozenset({"loss", "loss_contrast", "loss_task", "top1_percent"}),
        batch=clips(6, 2),
    ),
    "dsm": Case({"name": "dsm", "frames": 3, **HEADS}, (32,) * 3, DSM, batch=clips(4, 3, flows=1)),
    "dsm shift": Case(
        {"name": "dsm", "frames": 3, "negative": "shift", "shift": 2, "gate": "consistent", **HEADS},
        (32,) * 3,
        DSM,
        batch=clips(5, 3),
    ),
}
