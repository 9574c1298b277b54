"""What of this machine a process may use: cores, memory, and how many processes read images for it.

Stages that run side by side share the machine: who starts them says in `BENCH_SHARED_BY` how many there are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SHARED_BY = "BENCH_SHARED_BY"  # the environment variable: stages that share cores and memory
WITHIN_GRID = "BENCH_WITHIN_GRID"  # set where a grid started a stage's process

SMALL_RUN = 512  # images in all: starting workers would take longer than reading them
MOST_WORKERS = 32  # of one process
WORKER_BYTES = 512 << 20  # that a worker is taken to hold besides its batches
BATCHES = 3  # that a worker holds: two ahead (DataLoader's prefetch_factor), one being made


def cores() -> int:
    """Return the cores that this process may run on (its affinity), as if it were alone here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_by(environ: Mapping[str, str] | None = None) -> int:
    """Return how many stages share the machine; 1 unless whoever started this process says otherwise."""
    given = (os.environ if environ is None else environ).get(SHARED_BY, "")
    return max(1, int(given)) if given.isdecimal() else 1


def available_memory() -> int | None:
    """Return the bytes that can be had now without swapping, within the limit of a container; None: not known."""
    known = [_free_of_host(), _left_of_limit(Path("/sys/fs/cgroup"))]
    return min((value for value in known if value is not None), default=None)


def loader_workers(
    chosen: int | None,
    *,
    device: str,
    images: int,
    batch_bytes: int,
    processes: int = 1,
    beside_cpu: int | None = None,
) -> int:
    """Return how many processes read images for this one; no result depends on it.

    Beside a GPU it is one a core, at most MOST_WORKERS; where the network itself runs on the cores, half as many. What
    side-by-side stages and the processes of one stage share is divided. Workers take at most half of the memory.

    Args:
        chosen: what the config says; returned as it is, unless it is None.
        device: "cuda" or "cpu", on which the network runs.
        images: that are read in all; of fewer than SMALL_RUN none is read by another process.
        batch_bytes: of one batch as a worker hands it over.
        processes: of this stage on this machine.
        beside_cpu: how many there are beside a network on a CPU, if not half of the cores.
    """
    if chosen is not None:
        return chosen
    if images < SMALL_RUN:
        return 0
    sharing = processes * shared_by()
    wanted = cores() // sharing
    if device != "cuda":  # one worker still hides what is spent waiting for a disk
        wanted = wanted // 2 if beside_cpu is None else beside_cpu
        if beside_cpu == 0:
            return 0
    memory = available_memory()
    if memory is not None:
        wanted = min(wanted, memory // 2 // sharing // (WORKER_BYTES + BATCHES * batch_bytes))
    return max(1, min(wanted, MOST_WORKERS))


def _free_of_host() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        return None
    return None


def _left_of_limit(folder: Path) -> int | None:
    """What a control group (version 2) leaves; file caches that can be dropped count as free."""
    try:
        most = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        return None if most == "max" else max(0, int(most) - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None
