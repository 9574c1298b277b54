"""All randomness is a function of (seed, draw), never of a generator's history.

A run that stops after any step and goes on later therefore equals one that never stopped, whatever the
number of workers, and there is no generator state to save.
"""

from __future__ import annotations

import hashlib
import random

import numpy as np


def derive(seed: int, *keys: int | str) -> int:
    """Return a 63-bit integer that depends on `seed` and every key, e.g. `derive(seed, "view", draw)`."""
    text = "/".join([str(int(seed)), *(f"{type(key).__name__[0]}{key}" for key in keys)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *keys: int | str) -> np.random.Generator:
    """Return a NumPy generator for (seed, keys)."""
    return np.random.Generator(np.random.Philox(derive(seed, *keys)))


def reseed(seed: int, *keys: int | str) -> None:
    """Set the global generators of torch (all devices), NumPy and random to a function of (seed, keys)."""
    import torch

    value = derive(seed, *keys)
    torch.manual_seed(value)
    np.random.seed(value % 2**32)  # noqa: NPY002 - libraries below us draw from it
    random.seed(value)
