"""Which process a number means: numbers are given out again, so that the time of its start goes with it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")


def host() -> str:
    """Return the name of this machine, as files that other machines read name it."""
    return socket.gethostname()


def started_at(pid: int) -> str | None:
    """Return when a process of this machine started, as BOOT:TICKS; None where it is gone, or the system has no /proc.

    A process that has ended and was not yet waited for counts as gone.
    """
    try:
        # The second field is the name in brackets, which may itself hold brackets and spaces.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        if fields[0] in {"Z", "X"}:
            return None
        return f"{BOOT.read_text(encoding='ascii').strip()}:{fields[19]}"
    except (OSError, IndexError, ValueError):
        return None


def alive(pid: int, started: str | None) -> bool:
    """Whether the process that had that number, and started then, still runs on this machine.

    Where the system does not say when a process started, any process of that number is taken for it.
    """
    now = started_at(pid)
    if now is not None:
        return started is None or now == started
    if BOOT.exists():  # the system would have said
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
