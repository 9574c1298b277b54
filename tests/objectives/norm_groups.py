"""A short training with norms over groups of images, on one of several gloo processes.

A script: norm_groups.py RANK WORLD FOLDER. Each rank has its rows of the same batches, as the sampler deals them, and
is seeded as the loop does it. Losses, gradients of the last step and the state after it go to
FOLDER/world_WORLD_rank_RANK.pt, all in float64.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from cases import images_batch, load, rows
from torch import Tensor
from two_ranks import sample

from bench.config.objective_settings import settings_of
from bench.config.recipe import Recipe
from bench.randomness import reseed
from bench.train.distributed import Ranks
from bench.train.step import Step

IMAGES, STEPS = 16, 3

# (case, recipe): with 1, 2 and 4 processes, groups are parts of one, all of one, and of two.
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "moco, 4 images": ("moco crops", {"norm_images": 4}),
    "moco, 8 images": ("moco symmetric", {"norm_images": 8}),
    "moco, 4 images, 2 parts": ("moco", {"norm_images": 4, "accumulate": 2}),
    "clsa, 8 images": ("clsa", {"norm_images": 8}),
    "densecl, 8 images": ("densecl", {"norm_images": 8}),
    "swav, 8 images": ("swav", {"norm_images": 8}),
    "simclr, 4 images": ("simclr crops", {"norm_images": 4}),
}
# Queues that hold whole batches of that size, and prototypes that move from the first step on.
SETTINGS = {"queue_size": 64, "dense_queue_size": 64, "freeze_share": 0.0}


def neighbours(processes: int) -> Any:
    """Groups of processes that lie side by side: not the groups of images of any other number of processes."""
    groups = [dist.new_group(list(range(i, i + processes))) for i in range(0, dist.get_world_size(), processes)]
    return groups[dist.get_rank() // processes]


# What is easily done wrong: (run, where, what is put there).
BROKEN = {
    "statistics of the first process": ("moco, 4 images", "bench.train.step.average_statistics", lambda *_: None),
    "an order on each process": ("moco, 4 images", "bench.nn.draws.from_first", lambda x: x),
    "neighbouring processes": ("moco, 8 images", "bench.nn.norm.group_of", neighbours),
    "groups of the shuffled rows as they were gathered": (
        "moco, 4 images",
        "bench.nn.shuffle.in_batch_order",
        lambda x: x,
    ),
}


def train(run: str, ranks: Ranks) -> dict[str, Tensor]:
    """Losses, gradients and state of a few steps."""
    name, values = RUNS[run]
    case = load()[name]
    settings = {key: value for key, value in SETTINGS.items() if key in settings_of(case.settings["name"])}
    if case.settings["name"] == "swav":  # without a queue
        del settings["queue_size"]
    about = {"name": run, "summary": "", "source": "", "profile": "full", "dataset": "coco", "epochs": 1}
    sgd = {"name": "sgd", "lr": 0.05, "lr_batch": None}
    recipe = Recipe.model_validate(
        {**about, "objective": case.settings, "batch_size": IMAGES, "sync_bn": False, "optimizer": sgd}
        | {"precision": "float32", "channels_last": False, **values}
    )
    objective = case.make(**settings)
    work = Step(objective, recipe, ranks)
    results: dict[str, Tensor] = {}
    for step in range(STEPS):
        reseed(7, "step", step, ranks.rank)
        own = rows(images_batch(IMAGES, case.sizes, seed=step), slice(ranks.rank, None, ranks.world))
        size = IMAGES // ranks.world // recipe.accumulate
        for part in range(recipe.accumulate):
            terms = work.backward(rows(own, slice(part * size, (part + 1) * size)))
            results[f"loss {step} {part}"] = ranks.mean_(terms["loss"].detach().clone())
        if step == STEPS - 1:
            for key, parameter in objective.named_parameters():
                if parameter.grad is not None:
                    results[f"grad {key}"] = sample(parameter.grad)
        work.update(0.05, step / STEPS)
    results |= {f"weight {key}": sample(parameter) for key, parameter in objective.named_parameters()}
    return results | {f"buffer {key}": sample(buffer) for key, buffer in objective.named_buffers()}


def main() -> None:
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous{world}", rank=rank, world_size=world)
    ranks = Ranks(rank, world, world)
    results = {run: train(run, ranks) for run in RUNS}
    if world == 4:
        for name, (run, where, what) in BROKEN.items():
            with mock.patch(where, what):
                results[name] = train(run, ranks)
    torch.save(results, folder / f"world_{world}_rank_{rank}.pt")
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
