"""Objectives on positions and regions of the feature maps, and those that look at saliency."""

from __future__ import annotations

from cases import Case

HEADS = {"hidden_dim": 12, "projection_dim": 6}
MOCO = {**HEADS, "queue_size": 16}
TARGETS = ("target_",)
KEYS = ("key_",)
DENSE = frozenset({"loss", "loss_global", "loss_dense"})

CASES = {
    "densecl": Case({"name": "densecl", "dense_queue_size": 8, **MOCO}, (64, 64), DENSE, frozen=KEYS),
    "densecl crops": Case({"name": "densecl", "dense_weight": 0.0, "crops": 2, **MOCO}, (64, 64, 32, 32), frozen=KEYS),
    "pixpro": Case({"name": "pixpro", **HEADS}, (64, 64), frozen=TARGETS, symmetric=True),
    "pixpro pixcontrast": Case(
        {"name": "pixpro", "loss": "pixcontrast", **HEADS}, (64, 64), frozen=TARGETS, symmetric=True
    ),
}
