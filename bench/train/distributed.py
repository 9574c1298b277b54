"""One process or several: who this one is, and what ranks tell each other outside DistributedDataParallel."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bench.errors import Interrupted
from bench.nn.collectives import collective_timeout


@dataclass(frozen=True)
class Ranks:
    """This process among all that train together."""

    rank: int = 0
    world: int = 1
    local_world: int = 1  # processes on this machine
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    control: Any = None  # a gloo group for numbers on the host, so that talking does not wait for the device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def sums(self, *numbers: int) -> tuple[int, ...]:
        """Return each number summed over the ranks (on the host, without waiting for the device)."""
        if self.world == 1:
            return numbers
        total = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(total, group=self.control)
        return tuple(total.tolist())

    def most(self, number: int) -> int:
        """Return the largest of the ranks' numbers (on the host, without waiting for the device)."""
        if self.world == 1:
            return number
        largest = torch.tensor(number, dtype=torch.int64)
        dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=self.control)
        return int(largest)

    def mean_(self, tensor: Tensor) -> Tensor:
        """Replace a tensor on the device by its mean over the ranks, and return it."""
        if self.world > 1:
            dist.all_reduce(tensor)
            tensor /= self.world
        return tensor


@contextmanager
def ranks_of(environ: Mapping[str, str] | None = None, device: str | None = None) -> Iterator[Ranks]:
    """Join the process group of torchrun's environment (NCCL on CUDA, gloo on CPU), and leave it at the end.

    `device` is "cpu" or "cuda"; by default CUDA where there is one. A rank that waits for another longer than
    `BENCH_COLLECTIVE_MINUTES` raises what `train/lost_processes.py` has words for.
    """
    environ = os.environ if environ is None else environ
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    world = int(environ.get("WORLD_SIZE", "1")) if "RANK" in environ else 1
    local = int(environ.get("LOCAL_RANK", "0")) if world > 1 else 0
    here = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(here)
    if world == 1:
        yield Ranks(device=here)
        return
    rank = int(environ["RANK"])
    backend = "nccl" if kind == "cuda" else "gloo"
    timeout = collective_timeout()
    dist.init_process_group(backend, init_method="env://", rank=rank, world_size=world, timeout=timeout)
    control = dist.new_group(backend="gloo", timeout=timeout) if backend == "nccl" else dist.group.WORLD
    clean = False
    try:
        yield Ranks(rank, world, int(environ.get("LOCAL_WORLD_SIZE", str(world))), here, control)
        clean = True
    except Interrupted:
        clean = True  # every rank stops at the same step
        raise
    finally:
        # After a failure NCCL may wait here for ranks that never answer; the process is about to end anyway.
        if clean or backend == "gloo":
            dist.destroy_process_group()
