"""Objectives on positions and regions of the feature maps, and those that look at saliency."""

from __future__ import annotations

from dataclasses import replace

import torch
from cases import Case, images_batch

from bench.data.views import Batch

HEADS = {"hidden_dim": 12, "projection_dim": 6}
MOCO = {**HEADS, "queue_size": 16}
TARGETS = ("target_",)
KEYS = ("key_",)
CAST = frozenset({"loss", "loss_contrast", "loss_attention"})
DENSE = frozenset({"loss", "loss_global", "loss_dense"})
CROPS = frozenset({"loss", "loss_global", "loss_crops"})
SMALL = {"crops": 2, "crop_size": 64}


def with_maps(n: int, values: tuple[int, ...] = (0, 1, 2), size: int = 64) -> Batch:
    """Two views, each with a map of blocks of 16 pixels, a value of `values` each."""
    batch, generator = images_batch(n, (size, size)), torch.Generator().manual_seed(3)
    blocks = torch.tensor(values, dtype=torch.uint8)[
        torch.randint(len(values), (2, 64, size // 16, size // 16), generator=generator)
    ]
    return replace(batch, masks=[b.repeat_interleave(16, 1).repeat_interleave(16, 2) for b in blocks[:, :n]])


def with_crops(n: int) -> Batch:
    """Two views and two small crops, each with a map of blocks of 16 pixels; a crop of 64 has four positions."""
    batch, generator = images_batch(n, (96, 96, 64, 64)), torch.Generator().manual_seed(5)
    maps = [torch.randint(3, (64, size // 16, size // 16), generator=generator) for size in (96, 96, 64, 64)]
    blocks = [each[:n].to(torch.uint8).repeat_interleave(16, 1).repeat_interleave(16, 2) for each in maps]
    return replace(batch, masks=blocks)


def with_saliency(n: int) -> Batch:
    """Two views of noise, each with a saliency map."""
    return with_maps(n, (0, 255))


CASES = {
    "densecl": Case({"name": "densecl", "dense_queue_size": 8, **MOCO}, (64, 64), DENSE, frozen=KEYS),
    "densecl crops": Case({"name": "densecl", "dense_weight": 0.0, "crops": 2, **MOCO}, (64, 64, 32, 32), frozen=KEYS),
    "pixpro": Case({"name": "pixpro", **HEADS}, (64, 64), frozen=TARGETS, symmetric=True),
    "pixpro pixcontrast": Case(
        {"name": "pixpro", "loss": "pixcontrast", **HEADS}, (64, 64), frozen=TARGETS, symmetric=True
    ),
    "detcon": Case({"name": "detcon", "regions": 5, **HEADS}, (64, 64), frozen=TARGETS, batch=with_maps),
    "detcon s": Case({"name": "detcon", "variant": "s", "regions": 5, **HEADS}, (64, 64), batch=with_maps),
    **{
        f"pixpro {loss} crops": Case(
            {"name": "pixpro", "loss": loss, **SMALL, **HEADS},
            (96, 96, 64, 64),
            CROPS,
            frozen=TARGETS,
            symmetric=True,
        )
        for loss in ("pixpro", "pixcontrast")
    },
    "detcon crops": Case(
        {"name": "detcon", "regions": 5, **SMALL, **HEADS},
        (96, 96, 64, 64),
        CROPS,
        frozen=TARGETS,
        batch=with_crops,
    ),
    "detcon s crops": Case(
        {"name": "detcon", "variant": "s", "regions": 5, **SMALL, **HEADS},
        (96, 96, 64, 64),
        CROPS,
        batch=with_crops,
    ),
    "cast": Case({"name": "cast", **MOCO}, (64, 64), CAST, frozen=KEYS, batch=with_saliency),
    "cast per image": Case(
        {"name": "cast", "per_image": True, **MOCO}, (64, 64), CAST, frozen=KEYS, batch=with_saliency
    ),
}
