"""Random numbers for each image inside an objective's forward.

All of it comes from torch's global generator of the device, which the loop reseeds at every step, so that a resumed run
draws what an uninterrupted one would. Objectives draw through these functions alone, so that a test can choose the
numbers of each image of a batch, whatever rank it is on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.nn.collectives import from_first


def uniform(n: int, *shape: int, like: Tensor) -> Tensor:
    """Return n×shape numbers in [0, 1), of the type and on the device of `like`; row i is image i's."""
    return torch.rand(n, *shape, dtype=like.dtype, device=like.device)


def normal(n: int, *shape: int, like: Tensor) -> Tensor:
    """Return n×shape standard normal numbers, of the type and on the device of `like`; row i is image i's."""
    return torch.randn(n, *shape, dtype=like.dtype, device=like.device)


def integers(n: int, *shape: int, high: int, device: torch.device | str) -> Tensor:
    """Return n×shape int64 in [0, high); row i is image i's."""
    return torch.randint(high, (n, *shape), device=device)


def permutations(n: int, k: int, *, device: torch.device | str) -> Tensor:
    """Return n random orders of 0 … k−1, n×k int64; row i is image i's."""
    return torch.rand(n, k, device=device).argsort(dim=1)


def shared_order(n: int, *, device: torch.device | str) -> Tensor:
    """Return a random order of 0 … n − 1, int64, the same on all ranks: what the first draws, and a process alone."""
    return from_first(torch.rand(n, device=device)).argsort(stable=True)
