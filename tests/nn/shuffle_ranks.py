"""What one of two gloo processes sees of a shuffled batch; a script: shuffle_ranks.py RANK WORLD FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from bench.nn.shuffle import shuffled


def main() -> None:
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    images = torch.arange(8 * rank, 8 * rank + 8, dtype=torch.float64)[:, None]  # an image is its number
    norm, seen = nn.BatchNorm1d(1, momentum=1.0).double(), []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        norm(x)
        return x

    torch.manual_seed(rank)  # as in training, ranks draw different numbers
    found = {"images": images, "keys": shuffled(network, images), "running_mean": norm.running_mean.item()}
    shuffled(network, images)
    torch.save(found | {"seen": seen[0], "seen again": seen[1]}, folder / f"rank_{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
