"""A number that is measured once, at the first batch of a run, and stays."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.nn.collectives import sum_over_ranks, world


class LogConstant(nn.Module):
    """log Z, part of the checkpoint: the first that it is given, its exponential averaged over the ranks."""

    value: Tensor
    known: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(()))
        self.register_buffer("known", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def forward(self, fresh: Tensor) -> Tensor:
        """Return log Z; `fresh`, a scalar, is this rank's estimate from the present batch, used if it is the first."""
        middle = sum_over_ranks(fresh) / world()  # taken out first, so that no exponential overflows
        mean = middle + (sum_over_ranks((fresh - middle).exp()) / world()).log()
        self.value.copy_(torch.where(self.known, self.value, mean.to(self.value.dtype)))
        self.known.fill_(True)
        return self.value.clone()
