"""What one of several gloo processes finds; a script: two_ranks.py RANK WORLD FOLDER TRUNK DATA PORT.

Neighbours in a bank of which each rank has a part, and the whole stage; what is found goes to
FOLDER/world_WORLD_rank_RANK.pt.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bench.config.tasks import KnnTask
from bench.nn.neighbours import Bank, search
from bench.stages import knn
from bench.stages.job import Job

COMMON: dict[str, Any] = {"name": "t", "summary": "", "source": "", "profile": "smoke", "dataset": "imagenet"}
COMMON |= {"size": 32, "resize": 36, "precision": "float32", "workers": 0, "kind": "knn", "k": 15}


def bank_and_queries() -> tuple[Tensor, Tensor]:
    """400 rows with ties across the ranks, and 20 queries."""
    rows = torch.randn(400, 32, generator=torch.Generator().manual_seed(0))
    rows[200:] = rows[:200]
    queries = torch.randn(20, 32, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(rows, dim=1), torch.nn.functional.normalize(queries, dim=1)


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
            if world > 1:  # each run of the stage has a process group of its own
                os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
    torch.save(results, folder / f"world_{world}_rank_{rank}.pt")


if __name__ == "__main__":
    main()
