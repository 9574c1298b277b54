"""Initial weights as a function of a seed, whatever was drawn before, and without a trace in what is drawn after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.randomness import derive


@contextmanager
def seeded(seed: int, *keys: int | str) -> Iterator[None]:
    """Let torch's CPU generator start from (seed, keys) inside the block, and go on as before after it.

    Modules are built on the CPU, so that no other device's generator is touched.
    """
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(derive(seed, *keys))
    try:
        yield
    finally:
        torch.set_rng_state(before)
