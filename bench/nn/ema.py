"""The target network: an exponential moving average of the online network's parameters.

Source: Grill et al. 2020, section 3.1. As in the reference implementation the average is of the parameters only: the
target runs in train mode and gathers its batch-norm statistics itself.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from bench.errors import BadInput

M = TypeVar("M", bound=nn.Module)


def copy_of_encoder(networks: Iterable[str], wanted: str) -> str:
    """Return which of an objective's networks is the copy that follows its encoder: `target_encoder`, `key_encoder`.

    Args:
        networks: their names.
        wanted: what asks for it, for messages.

    Raises BadInput where there is none.
    """
    found = [name for name in networks if name in {"target_encoder", "key_encoder"}]
    if not found:
        raise BadInput(f"{wanted} has export='target', but its objective keeps no copy of the encoder; set 'online'.")
    return found[0]


def target_of(online: M) -> M:
    """Return a copy that takes no gradient; `follow` moves it."""
    return copy.deepcopy(online).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, tau: float) -> None:
    """Move the target's parameters in place: ξ ← τ·ξ + (1 − τ)·θ. Buffers, that is BN statistics, stay.

    Raises ValueError when the two have different parameters.
    """
    moved: list[Tensor] = list(target.parameters())
    followed: list[Tensor] = list(online.parameters())
    if [p.shape for p in moved] != [p.shape for p in followed]:
        raise ValueError("the target network and the online network have different parameters")
    torch._foreach_lerp_(moved, followed, 1.0 - tau)


def target_rate(tau0: float, progress: float) -> float:
    """Return τ = 1 − (1 − τ₀)·(cos(π·progress) + 1)/2: τ₀ at progress 0 (the first step), 1 at progress 1.

    Raises ValueError for a progress outside [0, 1].
    """
    if not 0.0 <= progress <= 1.0:
        raise ValueError(f"progress is k / K and lies in [0, 1], but is {progress}")
    return 1.0 - (1.0 - tau0) * (math.cos(math.pi * progress) + 1.0) / 2.0
