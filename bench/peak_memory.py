"""The most memory that this process has held so far."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


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


def _high_water_kib() -> int:
    """Linux's own count for this program. ru_maxrss would be that of the process which started it, if that is more."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        return 0
