"""The gradients, terms and state of every objective, on one of several gloo processes.

A script: two_ranks.py RANK WORLD FOLDER. Each rank has its rows of the same batch, norms are over all ranks, gradients
are those of DistributedDataParallel, all in float64. What is drawn at random is drawn for each image by its number, on
whatever rank it is. What it finds goes to FOLDER/world_WORLD_rank_RANK.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from cases import Case, load, rows
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from bench.config.objective_source import class_says
from bench.nn.collectives import gather, rank_rows
from bench.nn.norm import average_statistics, convert_norms


def gather_without_gradient(x: Tensor) -> Tensor:
    """A plain all_gather with the own rows put back: those of other ranks take no gradient."""
    all_rows = gather(x.detach()).clone()
    all_rows[rank_rows(len(x))] = x
    return all_rows


# What a careless rank would do: no negatives from others, statistics of its own rows, positives in the wrong place.
BROKEN = {
    "two_loss logistic": {"gather": lambda x: x, "rank": lambda: 0},
    "two_loss align_uniform": {"gather": lambda x: x},
    "two_loss variance_covariance": {"gather": lambda x: x},
    "simclr": {"gather": gather_without_gradient},
    "simclr crops": {"gather": lambda x: x, "rank_rows": slice},
    "dclw crops": {"gather": lambda x: x, "rank_rows": slice},
    "moco_v3 crops": {"gather": lambda x: x, "rank": lambda: 0},
    "barlow_twins crops": {"gather": lambda x: x},
}

# Whose networks are given rows of which the halves are not halves of the images, as positions of one image in a row.
UNGROUPED = ("vicregl", "amdim")


class Numbered:
    """Draws in the place of `bench.nn.draws`: of each call one table for the whole batch, of which ranks take rows."""

    def __init__(self, total: int, rank_images: slice) -> None:
        self.total, self.rank_images, self.calls = total, rank_images, 0

    def _generator(self, n: int) -> torch.Generator:
        assert n == len(range(self.total)[self.rank_images]), "draws are for each image of the batch, once"
        self.calls += 1
        return torch.Generator().manual_seed(self.calls)

    def uniform(self, n: int, *shape: int, like: Tensor) -> Tensor:
        return torch.rand(self.total, *shape, generator=self._generator(n), dtype=torch.float64)[self.rank_images].to(
            like.dtype
        )

    def normal(self, n: int, *shape: int, like: Tensor) -> Tensor:
        return torch.randn(self.total, *shape, generator=self._generator(n), dtype=torch.float64)[self.rank_images].to(
            like.dtype
        )

    def integers(self, n: int, *shape: int, high: int, device: Any) -> Tensor:
        return torch.randint(high, (self.total, *shape), generator=self._generator(n))[self.rank_images]

    def permutations(self, n: int, k: int, *, device: Any) -> Tensor:
        return torch.rand(self.total, k, generator=self._generator(n)).argsort(dim=1)[self.rank_images]


def sample(tensor: Tensor) -> Tensor:
    """The norm of a tensor and up to about 2,000 of its entries, evenly spaced: whole gradients would fill a disk."""
    flat = tensor.detach().double().flatten()
    return torch.cat([flat.norm()[None], flat[:: max(1, len(flat) // 1000)]])


def mean_(tensor: Tensor) -> Tensor:
    """A tensor's mean over the ranks, in place."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
        tensor /= dist.get_world_size()
    return tensor


def step(case: Case, rank_images: slice, halves: bool = False) -> dict[str, Tensor]:
    """One forward, backward and what follows a step: gradients, terms (means over ranks), and buffers.

    Norms are over the whole batch, or over each half of it: parts of one process, or the two processes.
    """
    objective = case.make()
    with torch.no_grad():  # else a target would be the online network, as at the very start
        for parameter in objective.parameters():
            if not parameter.requires_grad:
                parameter *= 1.1
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    convert_norms(objective, "cpu", parts=2 // ranks if halves else 1, processes=1 if halves else ranks)
    model: torch.nn.Module = objective
    if ranks > 1:
        model = DistributedDataParallel(objective, broadcast_buffers=False)
    torch.manual_seed(0)  # for what the first rank draws for all
    draws = Numbered(case.n, rank_images)
    names = ("uniform", "normal", "integers", "permutations")
    with mock.patch.multiple("bench.nn.draws", **{name: getattr(draws, name) for name in names}):
        terms = model(rows(case.data(), rank_images))
        terms["loss"].backward()
    results: dict[str, Tensor] = {}
    for name, term in terms.items():
        results[f"term {name}"] = mean_(term.detach().clone().double())
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name  # DistributedDataParallel would wait for it for ever
            results[f"grad {name}"] = sample(parameter.grad)
        else:
            assert parameter.grad is None, name
    objective.before_step(0.5)
    if halves:
        average_statistics(objective, mean_)
    objective.after_step(0.5)
    buffers = {name: sample(buffer) for name, buffer in objective.named_buffers()}
    return results | {f"buffer {name}": buffer for name, buffer in buffers.items()}


def main() -> None:
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    rank_images = slice(rank, None, world)  # rows go round the ranks in turn, as the sampler deals them
    cases = {name: case for name, case in load().items() if case.ranks}
    results = {name: step(case, rank_images) for name, case in cases.items()}
    for name, case in cases.items():
        if class_says(case.settings["name"], "norm_groups") or name in UNGROUPED:
            results[f"{name}, halves"] = step(case, rank_images, halves=True)
    if world > 1:
        for name, parts in BROKEN.items():
            with mock.patch.multiple(type(cases[name].make()).forward.__module__, **parts):
                results[f"broken {name}"] = step(cases[name], rank_images)
    torch.save(results, folder / f"world_{world}_rank_{rank}.pt")
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
