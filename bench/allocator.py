"""The C allocator of a stage's process: freed memory is kept for the next step instead of going back to the system.

A training step allocates and frees gigabytes of activations. By default glibc maps each large tensor anew and unmaps it
again, so that every step pays for its pages once more. Results cannot depend on it.

`BENCH_ALLOCATOR` (or `bench run --allocator`) says what is used:

- auto: glibc, told to keep what was freed. Any other C library, and an allocator that is preloaded, stay as they are.
- default: whatever the process was started with.
- jemalloc: preloaded.

An allocator reads its settings when a process starts, so the launcher (`bench run`, or torchrun's) sets them. Whoever
calls `bench stage` directly sets the variables in `KEEP_FREED`; without them the stage runs with glibc's defaults.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import BadInput, nearest_or_all

VARIABLE = "BENCH_ALLOCATOR"
CHOICES = ("auto", "default", "jemalloc")

# glibc's own variables, see mallopt(3): allocate from the heap alone, never trim it, grow it by 64 MiB at a time.
KEEP_FREED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**63 - 1), "MALLOC_TOP_PAD_": str(64 * 2**20)}

# Without these jemalloc gives memory back after ten seconds, and then costs more page faults than glibc.
JEMALLOC_SETTINGS = "dirty_decay_ms:-1,muzzy_decay_ms:-1"
PLACES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")
PRELOADED = ("jemalloc", "tcmalloc", "mimalloc")


def chosen(environ: Mapping[str, str]) -> str:
    """Return the choice that an environment holds, `auto` by default. Raises BadInput for an unknown one."""
    choice = environ.get(VARIABLE) or "auto"
    if choice not in CHOICES:
        raise BadInput(f"Unknown allocator {choice!r} in {VARIABLE} or --allocator{nearest_or_all(choice, CHOICES)}")
    return choice


def started_with(environ: Mapping[str, str], places: Sequence[str] = PLACES) -> dict[str, str]:
    """Return the environment that a stage's process is started with.

    Raises BadInput when jemalloc is asked for and is not installed.
    """
    choice = chosen(environ)
    if choice != "jemalloc":
        return (KEEP_FREED if choice == "auto" else {}) | dict(environ)
    library = find_jemalloc([*places, str(Path(environ.get("CONDA_PREFIX", "/nowhere")) / "lib")])
    if library is None:
        raise BadInput("jemalloc is not installed; install it (libjemalloc2 in Debian), or take --allocator auto.")
    before = environ.get("LD_PRELOAD", "")
    loaded = before if "jemalloc" in before else ":".join(filter(None, [str(library), before]))
    return {"MALLOC_CONF": JEMALLOC_SETTINGS, **environ, "LD_PRELOAD": loaded}


def find_jemalloc(places: Sequence[str] = PLACES) -> Path | None:
    """Return jemalloc's shared library in one of these folders, or None."""
    names = ("libjemalloc.so.2", "libjemalloc.so")
    return next((file for place in places for name in names if (file := Path(place) / name).is_file()), None)


def check(environ: Mapping[str, str] | None = None) -> str:
    """Return in words which allocator this process was started with.

    Raises BadInput when jemalloc is asked for and not preloaded.
    """
    environ = os.environ if environ is None else environ
    choice, other = chosen(environ), preloaded()
    if choice == "jemalloc" and other != "jemalloc":
        library = find_jemalloc() or "libjemalloc.so.2"
        raise BadInput(
            f"{VARIABLE}=jemalloc, but this process was started without it; start it with LD_PRELOAD={library} "
            f"MALLOC_CONF={JEMALLOC_SETTINGS}, or unset {VARIABLE}."
        )
    if other is not None:
        return f"{other} (preloaded)"
    library_name = platform.libc_ver()[0]
    if library_name == "glibc" and KEEP_FREED.items() <= environ.items():
        return "glibc, keeping freed memory"
    return f"{library_name or 'the system'}'s default"


def preloaded() -> str | None:
    """Return which other allocator this process was started with, or None."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        maps = os.environ.get("LD_PRELOAD", "")
    return next((name for name in PRELOADED if f"lib{name}" in maps), None)
