"""Micro-batches: one rank's share of a step, cut into the parts whose gradients are accumulated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import Sampler

from bench.data.views import Batch
from bench.train.signals import shielded
from bench.waiting import Waiting

T = TypeVar("T")

# Given an optimizer step to start from, yields the micro-batches of that step and all later ones, without an end
# or at least to the run's last step.
Source = Callable[[int], Iterable[Batch]]


class Parts(Sampler[list[T]]):
    """Cuts each batch of a batch sampler into `accumulate` consecutive parts."""

    def __init__(self, batches: Iterable[Sequence[T]], accumulate: int) -> None:
        self.batches, self.accumulate = batches, accumulate

    def __iter__(self) -> Iterator[list[T]]:
        for batch in self.batches:
            size = len(batch) // self.accumulate
            for start in range(0, size * self.accumulate, size):
                yield list(batch[start : start + size])


@contextmanager
def iterating(make: Callable[[], Iterable[T]]) -> Iterator[Waiting[T]]:
    """Iterate over what `make` returns; a loader's workers never get the signals, and end with the block."""
    with shielded():
        batches = iter(make())
    try:
        yield Waiting(batches)
    finally:
        # An exception's traceback would keep the loader alive, and at exit Python waits for workers that are alive.
        shut = getattr(batches, "_shutdown_workers", None)
        if shut is not None:
            shut()


def to_device(batch: Batch, device: torch.device, memory_format: torch.memory_format | None = None) -> Batch:
    """Return a batch on the device, `memory_format` being that of its images.

    On CUDA the copy runs on a stream of its own: the host is ahead of the device, and on the same stream the copy would
    queue up behind the step that is still being computed. On a CPU nothing is copied.
    """
    if device.type != "cuda":
        return batch.to(device, memory_format=memory_format, non_blocking=True)
    copies, compute = _copies(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copies):
        placed = batch.to(device, memory_format=memory_format, non_blocking=True)
    compute.wait_stream(copies)
    for field in fields(placed):
        value = getattr(placed, field.name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Tensor):
                item.record_stream(compute)  # or its memory would be given away while the step still reads it
    return placed


@cache
def _copies(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
