"""The most memory that this process has held, on the host and on its GPU."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_memory_mib() -> dict[str, float]:
    """Return the most memory, in MiB, that this process has held, and the most that torch had allocated on its GPU.

    Without the loader's workers: a child's ru_maxrss starts from what its parent held when it forked, so that one call
    of git would be taken for a worker of half a gigabyte.
    """
    unit = 2**20 if sys.platform == "darwin" else 2**10  # Linux counts KiB
    peak = {"process": _high_water_kib() / 2**10 or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated() / 2**20
    return {name: round(value, 1) for name, value in peak.items()}


def _high_water_kib() -> int:
    """Linux's own count for this program. ru_maxrss would be that of the process which started it, if that is more."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        return 0
