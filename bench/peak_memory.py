"""The most memory that this process has held so far."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from pathlib import Path

NAMES = {"process": "", "gpu": "GPU "}  # what is measured, and what stands before it in words


def peak_memory_mib(*, ask_driver: bool = True) -> dict[str, float]:
    """Return the most memory, in MiB, that this process has held, and the most that torch had allocated on its GPU.

    They are named "process" and "gpu". Without the loader's workers: a child's ru_maxrss starts from what its parent
    held when it forked, so that one call of git would be taken for a worker of half a gigabyte. Without `ask_driver`
    a GPU counts only once this process computes on it: a process that asks CUDA's driver can't be forked afterwards.
    """
    unit = 2**20 if sys.platform == "darwin" else 2**10  # Linux counts KiB
    peak = {"process": _high_water_kib() / 2**10 or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}
    torch = sys.modules.get("torch")
    if torch is not None and (torch.cuda.is_available() if ask_driver else torch.cuda.is_initialized()):
        peak["gpu"] = torch.cuda.max_memory_allocated() / 2**20
    return {name: round(value, 1) for name, value in peak.items()}


def memory_words(mib: Mapping[str, float]) -> str:
    """Return what `peak_memory_mib` gave, in words: `1.2 GiB + GPU 10.1 GiB`; "" for nothing."""
    return " + ".join(f"{word}{size_words(mib[name])}" for name, word in NAMES.items() if mib.get(name))


def size_words(mib: float) -> str:
    """Return so many MiB as people say it: `12 MiB`, `3.4 GiB`."""
    return f"{mib:.0f} MiB" if mib < 1000 else f"{mib / 1024:.1f} GiB"


def _high_water_kib() -> int:
    """Linux's own count for this program. ru_maxrss would be that of the process which started it, if that is more."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        return 0
