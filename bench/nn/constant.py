"""A number that is measured once, at the first batch of a run, and stays."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bench.nn.collectives import sum_over_ranks, world


class LogConstant(nn.Module):
    """log Z, part of the checkpoint: the first value that it is given, its exponential averaged over the ranks."""

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(math.nan))

    @torch.no_grad()
    def __call__(self, fresh: Tensor) -> Tensor:
        """Return log Z; `fresh`, a scalar, is this rank's estimate from the present batch, used if it is the first."""
        # The largest first, so that no exponential overflows; each rank knows it to be at least its own.
        top = sum_over_ranks(fresh.detach()) / world()
        mean = top + (sum_over_ranks((fresh.detach() - top).exp()) / world()).log()
        self.value.copy_(torch.where(self.value.isnan(), mean.to(self.value.dtype), self.value))
        return self.value.clone()
