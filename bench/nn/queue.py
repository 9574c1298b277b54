"""A first-in, first-out queue of past keys.

Source: He et al., "Momentum Contrast" (CVPR 2020), section 3.2 and algorithm 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BadInput
from bench.nn.collectives import gather, in_batch_order
from bench.nn.seeding import seeded


class Queue(nn.Module):
    """The last K keys of all ranks, K×D, unit rows; part of the checkpoint. It starts as random unit vectors.

    Args:
        size: K, a multiple of the number of keys that are pushed at once.
        dim: D.
        seed: of the first rows.
        name: of the setting, for error messages.
    """

    keys: Tensor
    position: Tensor

    def __init__(self, size: int, dim: int, seed: int, name: str = "queue_size") -> None:
        super().__init__()
        self.size, self.setting = size, name
        with seeded(seed, "queue", name):
            keys = F.normalize(torch.randn(size, dim), dim=1)
        self.register_buffer("keys", keys)
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def check(self, batch_size: int, per_image: int = 1) -> None:
        """Raise BadInput for a batch (of all ranks, as it is pushed at once) that the queue is no multiple of.

        Args:
            batch_size: images.
            per_image: keys that are pushed of each.
        """
        pushed = batch_size * per_image
        if self.size % pushed:
            near = max(1, round(self.size / pushed)) * pushed
            what = f"{batch_size} images" if per_image == 1 else f"{pushed} keys"
            raise BadInput(
                f"objective.{self.setting} is {self.size}, no multiple of the {what} of a batch; set it "
                f"to {near}, or change batch_size."
            )

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Put the keys n×D of this rank, and those of the other ranks, in the place of the oldest. After the loss.

        They lie in the order of the batch, as one process has them, whatever the number of ranks.

        `keys.clone()` of the queue must be what the loss saw: this changes the buffer in place.
        """
        newest = in_batch_order(gather(keys)).to(self.keys.dtype)  # N×D
        places = (self.position + torch.arange(len(newest), device=self.keys.device)) % self.size
        self.keys[places] = newest
        self.position.copy_((self.position + len(newest)) % self.size)
