"""Who runs a stage: the process that holds the lock in its folder, and what that process said of itself there."""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path

from bench.execute.jobs.process import host, started_at

LOCK, HOLDER = "lock", "holder"
LOCKS = (LOCK, "ranks.lock")  # the second is held by ranks that outlive their launcher for a moment


@dataclass(frozen=True)
class Holder:
    """Who holds a stage, or held it last."""

    words: str = ""  # "process 12 on node7"; "" where nobody said anything
    pid: int | None = None
    host: str = ""
    process: str | None = None  # when that process started, so that a number given out again is not taken for it


def this_holder() -> str:
    """Return what this process writes into the folder of a stage that it holds."""
    return f"process {os.getpid()} on {host()}\n{started_at(os.getpid()) or ''}\n"


def holder_of(folder: Path) -> Holder:
    """Return who holds the stage in `folder`, or held it last."""
    words, _, process = said_in(folder / HOLDER).partition("\n")
    found = re.fullmatch(r"process (\d{1,10}) on (.+)", words)
    if found is None:
        return Holder(words)
    return Holder(words, int(found[1]), found[2], process.strip() or None)


def said_in(file: Path) -> str:
    """Return what a note in a stage's folder says; "" for none, which another machine may remove at any time."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def is_held(folder: Path) -> bool:
    """Whether a process runs the stage in `folder`, on this machine or another one that shares the file system.

    The lock is tried for a moment and shared with others that try it; whoever takes a stage therefore tries it more
    than once.
    """
    return any(_is_locked(folder / name) for name in LOCKS)


def _is_locked(file: Path) -> bool:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return False
