"""A memory bank: one vector for each image of the data set, as it was embedded when the image was last seen.

Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (CVPR 2018), section 3.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BadInput
from bench.nn import draws
from bench.nn.collectives import gather, sum_over_ranks, world
from bench.nn.seeding import seeded

BankLoss = Literal["nce", "softmax"]  # noise-contrastive estimation, or a softmax over the positive and the negatives


class MemoryBank(nn.Module):
    """Unit vectors M×D, row i that of image i; part of the checkpoint, equal on all ranks. It starts at random.

    Args:
        images: M.
        dim: D.
        momentum: m of v_i ← n(m·v_i + (1 − m)·z_i).
        seed: of the first vectors.
    """

    vectors: Tensor

    def __init__(self, images: int, dim: int, momentum: float, seed: int) -> None:
        super().__init__()
        if images < 2:
            raise BadInput(f"A memory bank needs at least 2 images, but the data set has {images}; take a larger one.")
        self.images, self.momentum = images, momentum
        with seeded(seed, "memory bank"):
            vectors = F.normalize(torch.randn(images, dim), dim=1)
        self.register_buffer("vectors", vectors)

    def draw_candidates(self, indices: Tensor, negatives: int) -> Tensor:
        """Return n×(1+K) images for n of the batch: each one itself, then K that are drawn at random, with itself."""
        drawn = draws.integers(len(indices), negatives, high=self.images, device=indices.device)
        return torch.cat([indices[:, None], drawn], dim=1)

    def rows(self, indices: Tensor) -> Tensor:
        """Return the vectors of images, a copy without gradient: indices of any shape S -> S×D."""
        return self.vectors[indices]

    @torch.no_grad()
    def update(self, indices: Tensor, z: Tensor) -> None:
        """Move the vectors of this rank's images (and of the other ranks') towards their embeddings. After the loss.

        Args:
            indices: n positions in the data set.
            z: n×D embeddings; they are normalised first.
        """
        rows, unit = gather(indices), gather(F.normalize(z.detach(), dim=1)).to(self.vectors.dtype)
        mixed = self.momentum * self.vectors[rows] + (1.0 - self.momentum) * unit
        self.vectors[rows] = F.normalize(mixed, dim=1)


class LogConstant(nn.Module):
    """log Z of noise-contrastive estimation: measured once, at the first batch of a run, and constant after it.

    Z is averaged over the ranks. Part of the checkpoint.
    """

    value: Tensor
    known: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(()))
        self.register_buffer("known", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def forward(self, estimate: Tensor) -> Tensor:
        """Return log Z, a scalar; `estimate` is this rank's, from the present batch, used if it is the first."""
        middle = sum_over_ranks(estimate) / world()  # subtracted first, so that no exponential overflows
        mean = middle + (sum_over_ranks((estimate - middle).exp()) / world()).log()
        self.value.copy_(torch.where(self.known, self.value, mean.to(self.value.dtype)))
        self.known.fill_(True)
        return self.value.clone()
