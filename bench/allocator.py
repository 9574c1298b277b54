"""The C allocator of a stage's process: freed memory is kept for the next step instead of going back to the system.

A training step allocates and frees gigabytes of activations. By default glibc maps each large tensor anew and unmaps it
again, so that every step pays for its pages once more. Results cannot depend on it.

`BENCH_ALLOCATOR` (or `bench run --allocator`) says what is used:

- auto: glibc, told to keep what was freed. Any other C library, and an allocator that is preloaded, stay as they are.
- default: whatever the process was started with.
- jemalloc: preloaded by the launcher; a stage that is started directly needs LD_PRELOAD.

This module does not import torch.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import BadInput, nearest

VARIABLE = "BENCH_ALLOCATOR"
CHOICES = ("auto", "default", "jemalloc")

# mallopt's parameters, from glibc's <malloc.h>
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
TOP_PAD = 64 * 2**20  # bytes by which the heap grows beyond what is asked for

# Without these jemalloc gives memory back after ten seconds, and then costs more page faults than glibc.
JEMALLOC_SETTINGS = "dirty_decay_ms:-1,muzzy_decay_ms:-1"
PLACES = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
)
PRELOADED = ("jemalloc", "tcmalloc", "mimalloc")


def chosen(environ: Mapping[str, str]) -> str:
    """Return the choice that an environment holds, `auto` by default. Raises BadInput for an unknown one."""
    choice = environ.get(VARIABLE) or "auto"
    if choice not in CHOICES:
        hint = nearest(choice, CHOICES) or f"; use one of {', '.join(CHOICES)}."
        raise BadInput(f"Unknown allocator {choice!r} in {VARIABLE} or --allocator{hint}")
    return choice


def started_with(environ: Mapping[str, str], places: Sequence[str] = PLACES) -> dict[str, str]:
    """Return the environment that a stage's process is started with.

    Raises BadInput when jemalloc is asked for and is not installed.
    """
    if chosen(environ) != "jemalloc":
        return dict(environ)
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


def settle(environ: Mapping[str, str] | None = None) -> str:
    """Set up this process's allocator as its environment asks, and return in words what is used from now on.

    Call it before the first large allocation. Raises BadInput when jemalloc is asked for and not preloaded.
    """
    choice = chosen(os.environ if environ is None else environ)
    found = preloaded()
    if choice == "jemalloc" and found != "jemalloc":
        library = find_jemalloc() or "libjemalloc.so.2"
        raise BadInput(
            f"{VARIABLE}=jemalloc, but this process was started without it; start it with LD_PRELOAD={library} "
            f"MALLOC_CONF={JEMALLOC_SETTINGS}, or unset {VARIABLE}."
        )
    if found is not None:
        return f"{found} (preloaded)"
    if choice == "auto" and keep_freed_memory():
        return "glibc, keeping freed memory"
    return f"{platform.libc_ver()[0] or 'the system'}'s default"


def preloaded() -> str | None:
    """Return which other allocator this process was started with, or None."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        maps = os.environ.get("LD_PRELOAD", "")
    return next((name for name in PRELOADED if f"lib{name}" in maps), None)


def keep_freed_memory() -> bool:
    """Tell glibc to serve every allocation from its heap, and never to trim that; False where there is no glibc."""
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - raises AttributeError under any other C library
        mallopt = library.mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, TOP_PAD))  # -1: no limit
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
