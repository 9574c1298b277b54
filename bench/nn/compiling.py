"""torch.compile, with the programs of each kind of processor kept apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def keep_processors_apart() -> None:
    """Add this processor's instruction sets to the key under which torch.compile caches programs.

    torch 2.15 leaves them out (`CacheBase.get_system` in torch/_inductor/codecache.py). A cache that machines share, or
    that outlives a change of `ATEN_CPU_CAPABILITY`, then hands code written for AVX-512 to a build for AVX2, whose
    vectors are half as long: the other half of each stays uninitialised, and the results are wrong without an error.
    """
    about = torch.cpu.get_capabilities()
    known = [name for name, has in sorted(about.items()) if has is True]
    torch.compiler.config.cache_key_tag = " ".join([torch.backends.cpu.get_cpu_capability(), *known])


def compile_fixed(function: Callable[..., Any], *, mode: str = "default") -> Callable[..., Any]:
    """Return `torch.compile(function)` for inputs of fixed shapes."""
    keep_processors_apart()
    return torch.compile(function, dynamic=False, mode=mode)
