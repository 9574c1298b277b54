"""Processes that end when the one that started them does, so that none trains on where another begins anew."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

PR_SET_PDEATHSIG = 1  # linux/prctl.h
ENDS_WITH = "BENCH_ENDS_WITH"  # the environment variable: the number of the process with which a started one ends


def end_with_parent(number: signal.Signals, parent: int | None = None) -> None:
    """Have this process get a signal when the thread that started it ends, however that comes; on Linux alone.

    Where it is told the number of its `parent`, and that one has ended already, it ends at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if parent is not None and os.getppid() != parent:
            os._exit(128 + number)  # as a shell says it; nothing was begun


def ending_with_this(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for processes that shall end with this one, which call `end_if_told` when they start.

    They see to it by themselves: code that runs between fork and exec could meet locks of libraries that are held.
    """
    return {**environ, ENDS_WITH: str(os.getpid())}


def end_if_told(number: signal.Signals = signal.SIGTERM) -> None:
    """Have this process get a signal when its parent ends, if whoever started it asked for that.

    Processes that it starts in turn are not told.
    """
    parent = os.environ.pop(ENDS_WITH, "")
    if parent.isdecimal():
        end_with_parent(number, int(parent))
