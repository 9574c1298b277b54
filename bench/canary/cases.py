"""How each objective is trained for the canary: small heads, and a schedule of seconds.

A setting is given to every objective whose constructor has it; OWN is for one objective alone. This module does not
import torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from bench.signature import objectives, parameters

SHARED: dict[str, Any] = {
    "hidden_dim": 128,
    "projection_dim": 64,
    "queue_size": 384,
    "prototypes": 64,
}


@dataclass(frozen=True)
class Canary:
    """How one objective is trained.

    Args:
        name: of the objective.
        settings: of the objective, over its defaults.
        steps: optimizer steps.
        batch_size: images a step.
        view_size: side of global views in pixels.
        optimizer, lr: `sgd` has momentum .9.
        knn: whether it is expected to beat random weights in this time.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    steps: int = 96
    batch_size: int = 48
    view_size: int = 64
    optimizer: str = "adam"
    lr: float = 2e-3
    knn: bool = True


# Objectives with nothing to train.
NONE = frozenset({"random_init"})

OWN: dict[str, dict[str, Any]] = {
    "patch_byol": {"settings": {"patches": 4, "sampling": "grid"}},
}


def canaries() -> dict[str, Canary]:
    """Return {objective: how it is trained} for every objective that trains."""
    return {name: canary(name) for name in objectives() if name not in NONE}


def canary(name: str) -> Canary:
    """Return how one objective is trained."""
    takes, own = parameters(name), dict(OWN.get(name, {}))
    settings = {key: value for key, value in SHARED.items() if key in takes} | own.pop("settings", {})
    return replace(Canary(name, settings), **own)
