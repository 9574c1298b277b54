"""The gradients of every objective, on one of several gloo processes; a script: two_ranks.py RANK WORLD FOLDER.

Each rank has its rows of the same batch, norms are over all ranks, gradients are those of DistributedDataParallel,
all in float64. What it finds goes to FOLDER/world_WORLD_rank_RANK.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from bench.data.views import Batch
from bench.nn.encoder import build_encoder
from bench.nn.norm import convert_sync_batchnorm
from bench.objectives import build

N = 4
SMALL: dict[str, Any] = {"hidden_dim": 12, "projection_dim": 6}
CASES: dict[str, dict[str, Any]] = {
    "byol": {"name": "byol", **SMALL},
    "two_loss logistic": {"name": "two_loss", "loss2": "logistic", **SMALL},
    "two_loss dense_byol": {"name": "two_loss", "loss2": "dense_byol", **SMALL},
    "two_loss align_uniform": {"name": "two_loss", "loss2": "align_uniform", "loss1_weight": 0.0, **SMALL},
    "two_loss variance_covariance": {"name": "two_loss", "loss2": "variance_covariance", **SMALL},
    "patch_byol grid": {"name": "patch_byol", "symmetric": True, "gate_temperature": 0.5, **SMALL},
    "patch_byol random": {"name": "patch_byol", "sampling": "random", "patches": 2, "symmetric": True, **SMALL},
    "supervised": {"name": "supervised"},
}
# What a careless rank would do: no negatives from others, statistics of its own rows, positives in the wrong place.
BROKEN = {
    "two_loss logistic": {"gather": lambda x: x, "rank": lambda: 0},
    "two_loss align_uniform": {"gather": lambda x: x},
    "two_loss variance_covariance": {"gather": lambda x: x},
}


def batch(own: slice, size: int) -> Batch:
    """Two views, two crops, boxes and labels of N images, and of these the own rows."""
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(N, 3, size, size, dtype=torch.float64, generator=generator) for _ in range(2)]
    views += [torch.randn(N, 3, 32, 32, dtype=torch.float64, generator=generator) for _ in range(2)]
    corners = torch.rand(2, N, 2, dtype=torch.float64, generator=generator) * 0.3
    flips = torch.rand(2, N, 1, dtype=torch.float64, generator=generator).round()
    boxes = [torch.cat([corners[i], corners[i] + 0.6, flips[i]], dim=1) for i in range(2)]
    labels = torch.arange(N) % 3
    return Batch(
        views=[view[own] for view in views],
        boxes=[box[own] for box in boxes],
        labels=labels[own],
        indices=torch.arange(N)[own],
    )


def sample(tensor: Tensor) -> Tensor:
    """The norm of a tensor and up to about 2,000 of its entries, evenly spaced: whole gradients would fill a disk."""
    flat = tensor.flatten()
    return torch.cat([flat.norm()[None], flat[:: max(1, len(flat) // 1000)]])


def step(settings: dict[str, Any], own: slice) -> dict[str, Tensor]:
    """One forward and backward: the gradients, the terms (means over ranks), and the running statistics."""
    objective = build(settings, build_encoder("resnet18", seed=0), num_classes=3).double()
    with torch.no_grad():  # else the target would be the online network, as at the very start
        for name, parameter in objective.named_parameters():
            if name.startswith("target_"):
                parameter *= 1.1
    data = batch(own, size=64 if "dense" in settings.get("loss2", "") else 32)  # a map of 2×2 positions, or 1
    if settings["name"] == "supervised":
        data.views = data.views[:1]
    elif settings.get("sampling") != "random":
        data.views = data.views[:2]
    model: torch.nn.Module = objective
    if dist.is_initialized():
        model = DistributedDataParallel(convert_sync_batchnorm(objective, "cpu"))
    terms = model(data)
    terms["loss"].backward()
    found: dict[str, Tensor] = {}
    for name, term in terms.items():
        value = term.detach().clone().double()
        if dist.is_initialized():
            dist.all_reduce(value)
            value /= dist.get_world_size()
        found[f"term {name}"] = value
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name  # DistributedDataParallel would wait for it for ever
            found[f"grad {name}"] = sample(parameter.grad)
        else:
            assert parameter.grad is None, name
    return found | {f"buffer {name}": buffer.clone() for name, buffer in objective.named_buffers()}


def main() -> None:
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    own = slice(rank, None, world)  # rows go round the ranks in turn, as the sampler deals them
    found = {case: step(settings, own) for case, settings in CASES.items()}
    if world > 1:
        for case, parts in BROKEN.items():
            with mock.patch.multiple("bench.objectives.two_loss", **parts):
                found[f"broken {case}"] = step(CASES[case], own)
    torch.save(found, folder / f"world_{world}_rank_{rank}.pt")
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
