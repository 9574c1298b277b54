"""What one of several gloo processes finds; a script: two_ranks.py RANK WORLD FOLDER TRUNK DATA PORT WHOLE_DATA.

Neighbours in a bank of which each rank has a part, the whole stage, and linear evaluation; what is found goes to
FOLDER/world_WORLD_rank_RANK.pt.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor

from bench.config.tasks import KnnTask, LinearTask
from bench.errors import Interrupted
from bench.nn.neighbours import Bank, search
from bench.outcomes import OUTCOMES
from bench.stages import knn, linear
from bench.stages.job import Job
from bench.stages.linear_heads import Heads

COMMON: dict[str, Any] = {"name": "t", "summary": "", "source": "", "profile": "smoke", "dataset": "imagenet"}
COMMON |= {"size": 32, "resize": 36, "precision": "float32", "workers": 0, "kind": "knn", "k": 15}


def bank_and_queries() -> tuple[Tensor, Tensor]:
    """400 rows with ties across the ranks, and 20 queries."""
    rows = torch.randn(400, 32, generator=torch.Generator().manual_seed(0))
    rows[200:] = rows[:200]
    queries = torch.randn(20, 32, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(rows, dim=1), torch.nn.functional.normalize(queries, dim=1)


LINEAR = COMMON | {"kind": "linear", "epochs": 3, "batch_size": 4, "learning_rates": (3.0, 10.0), "resize": 36}
LINEAR |= {"selection_share": 0.3}
LINEAR.pop("k")
ADAM = {"optimizer": "adam", "features": "centre", "learning_rates": (0.03, 0.1)}
LINEARS: dict[str, dict[str, Any]] = {
    "augmented": {},
    "resident": {"view_backend": "resident"},
    "centre": {"features": "centre"},
    "adam": ADAM,
}


def evaluate_linear(job: Job, world: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The metrics of linear evaluation, and its heads."""
    metrics = linear.run(job)
    if world > 1:  # each run of the stage has a process group of its own
        os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
    return metrics, load_file(job.folder / linear.HEADS)


def stopped_at(step: int, rank: int, job: Job, world: int) -> list[int]:
    """Send the last rank a signal while it takes a step, and return after which step all stopped."""
    real, taken = Heads.step, []

    def stopping(self: Heads, *words: Any) -> Tensor | None:
        taken.append(1)
        if len(taken) == step and rank == world - 1:
            signal.raise_signal(signal.SIGINT)
        return real(self, *words)

    Heads.step = stopping  # type: ignore[method-assign]
    try:
        linear.run(job)
    except Interrupted:
        return [len(taken)]
    finally:
        Heads.step = real  # type: ignore[method-assign]
        if world > 1:
            os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
    return []


def main() -> None:
    rank, world, folder, trunk, data = int(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:6])
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    rows, queries = bank_and_queries()
    for name, cut in (("halves", 200), ("few on one", 5)):  # 5 rows are fewer than k
        first, last = [(0, cut), (cut, 400)][rank] if world > 1 else (0, 400)
        results[name] = search(queries, Bank(rows[first:last], offset=first), 15)
    if world > 1:
        dist.destroy_process_group()
    asked: list[Tensor] = []
    real = knn.vote

    def vote(scores: Tensor, labels: Tensor, *words: Any) -> Tensor:
        asked.extend([scores, labels])
        return real(scores, labels, *words)

    knn.vote = vote
    if world > 1:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[6]}
    plain = {"vote": "majority", "metric": "euclidean"}
    for name, precision, more in (("bf16", "bf16", {}), ("float32", "float32", {}), ("euclidean", "float32", plain)):
        for batch in (4, 16):  # of 18 images, of which one is broken; and 9: a rank may have one batch, or none
            asked.clear()
            task = KnnTask(**(COMMON | {"search": precision, "batch_size": batch} | more))
            place = folder / f"{world}-{rank}"
            place.mkdir(exist_ok=True)
            job = Job(
                config=task,
                seed=0,
                folder=place,
                inputs={"convert": trunk},
                data_roots={"imagenet": data},
                unreadable="skip",
                data={"imagenet": "0"},
                features=folder / f"features-{world}",
            )
            results[f"stage {name} {batch}"] = (knn.run(job), *asked)
            if rank == 0:
                results[f"outcomes {name} {batch}"] = (place / OUTCOMES).read_bytes()
            if world > 1:  # each run of the stage has a process group of its own
                os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
    for name, more in (*LINEARS.items(), ("resumed", LINEARS["augmented"])):
        place = folder / f"linear-{name}-{world}"  # one folder for all ranks, as a stage has it
        place.mkdir(exist_ok=True)
        job = Job(
            config=LinearTask(**(LINEAR | more)),
            seed=0,
            folder=place,
            inputs={"convert": trunk},
            data_roots={"imagenet": Path(sys.argv[7]) if name == "resident" else data},
            unreadable="skip",
        )
        if name == "resumed":
            results["stopped"] = stopped_at(3, rank, job, world)
        results[f"linear {name}"] = evaluate_linear(job, world)
        if rank == 0:
            results[f"outcomes linear {name}"] = (place / OUTCOMES).read_bytes()
    torch.save(results, folder / f"world_{world}_rank_{rank}.pt")


if __name__ == "__main__":
    main()
