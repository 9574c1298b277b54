"""What several processes compute together, with gradients.

DistributedDataParallel averages gradients over the ranks: it minimises the mean of the ranks' losses. Each operation
here therefore sends back the sum of all ranks' gradients, and the averaged gradient is that of one process with
the whole batch, whether every rank computes the whole loss or only the part of its rows. (A raw `all_reduce` or
`all_gather` sends back the gradient of this rank's loss alone: 1/world of it, or none.)
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bench.errors import BadInput

COLLECTIVE_MINUTES = "BENCH_COLLECTIVE_MINUTES"  # how long a rank waits for the others
DEFAULT_MINUTES = 30.0  # longer than what one rank does alone: looking at held-out images, writing a checkpoint


def collective_minutes(environ: Mapping[str, str] | None = None) -> float:
    """Return how many minutes an operation of several ranks may take; BadInput for what is no such number."""
    given = (os.environ if environ is None else environ).get(COLLECTIVE_MINUTES, "")
    try:
        minutes = float(given) if given else DEFAULT_MINUTES
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= 60 * 24 * 7:
        raise BadInput(f"{COLLECTIVE_MINUTES}={given} is no time; set it to minutes, such as {DEFAULT_MINUTES:g}.")
    return minutes


def collective_timeout() -> datetime.timedelta:
    """Return the same for a process group."""
    return datetime.timedelta(minutes=collective_minutes())


def world() -> int:
    """Return the number of processes, 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, 0 without a process group."""
    return dist.get_rank() if world() > 1 else 0


def rank_rows(n: int) -> slice:
    """Return where this rank's n rows lie among those that `gather` returns."""
    return slice(rank() * n, (rank() + 1) * n)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        parts = [torch.empty_like(x) for _ in range(world())]
        dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone(memory_format=torch.contiguous_format)  # others may hold this gradient, too
        dist.all_reduce(total)
        return total.narrow(0, rank() * ctx.rows, ctx.rows)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total, None


def gather(x: Tensor) -> Tensor:
    """Return all ranks' rows in the order of the ranks: n×… -> (world·n)×…; x itself in a single process.

    All ranks must have equally many rows. Half precision is widened to float32, since gradients are summed. The rows
    of rank r start at r·n.
    """
    if world() == 1:
        return x
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return _Gather.apply(wide.contiguous())


def in_batch_order(rows: Tensor) -> Tensor:
    """Return the rows that `gather` returned, in the order of the batch: there rank r of w has r, r + w, …."""
    return rows.unflatten(0, (world(), -1)).transpose(0, 1).flatten(0, 1)


def from_first(x: Tensor) -> Tensor:
    """Return the first rank's x on all ranks, in place; x itself in a single process."""
    if world() > 1:
        dist.broadcast(x, src=0)
    return x


def sum_over_ranks(x: Tensor, group: Any = None) -> Tensor:
    """Return the sum of x over the ranks (of a process group), of the same shape; x itself in a single process."""
    return x if world() == 1 else _Sum.apply(x, group)


def group_of(processes: int) -> Any:
    """Return the process group of this rank r and those `world/processes` apart from it; None where these are all.

    Every rank must call it, as often and with the same number.
    """
    apart = world() // processes
    if apart == 1:
        return None
    timeout = collective_timeout()
    groups = [dist.new_group(list(range(first, world(), apart)), timeout=timeout) for first in range(apart)]
    return groups[rank() % apart]
