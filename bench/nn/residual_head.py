"""AMDIM's embedding of features into the space where they are compared."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ResidualHead(nn.Module):
    """N×in_dim -> N×out_dim: BN(W₂·ReLU(W₁x) + Wₛx), a hidden layer beside a linear one, no other norm.

    Source: Bachman et al. 2019, the reference implementation's embedding into its RKHS.
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_dim, out_dim, bias=False)
        self.out = nn.Linear(out_dim, out_dim, bias=False)
        self.straight = nn.Linear(in_dim, out_dim, bias=False)
        self.out_norm = nn.BatchNorm1d(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings of features N×in_dim."""
        return self.out_norm(self.out(F.relu(self.hidden(x))) + self.straight(x))
