"""Room on a disk: how much a file system has, and waiting until a full one has some again."""

from __future__ import annotations

import errno
import math
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.errors import BadInput, system_error

VARIABLE = "BENCH_WAIT_FOR_SPACE"  # minutes that the writing of a checkpoint waits for room
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
TRY_SECONDS = 10.0  # between two tries
SAY_SECONDS = 60.0  # between two lines that say what is waited for

stop_waiting = threading.Event()  # set by who wants the process to end


def patience() -> float:
    """Return how many seconds BENCH_WAIT_FOR_SPACE lets a checkpoint wait for room; 0 where it is not set.

    Raises BadInput where it is no number of minutes.
    """
    said = os.environ.get(VARIABLE, "0").strip() or "0"
    try:
        minutes = float(said)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes < math.inf:
        raise BadInput(f"{VARIABLE} is {said!r}, but it is a number of minutes; correct it, or leave it out.")
    return minutes * 60


def when_there_is_room(
    file: Path,
    write: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], bool] = stop_waiting.wait,
) -> None:
    """Write a file by `write`; where the disk or a quota is full, wait as long as `patience` says, and try again.

    What is waited for is said once a minute. Raises what the last try raised: when the time is over, when `wait` says
    that the process shall end, and at once for any other error.
    """
    begun, said, seconds = clock(), -math.inf, patience()
    while True:
        try:
            write()
        except Exception as error:
            cause = system_error(error)
            left = begun + seconds - clock()
            if cause is None or cause.errno not in FULL or left <= 0:
                raise
            if clock() - said >= SAY_SECONDS:
                said = clock()
                words = f"{file} waits for space ({cause.strerror}), for {math.ceil(left / 60)} more minutes at most"
                with suppress(OSError):  # the output may go to the same disk
                    print(f"{words}; free some, or stop the run with Ctrl-C", flush=True)
            if wait(min(TRY_SECONDS, left)):
                raise
        else:
            return


def check_free(folder: Path, needed: float, what: str, remedy: str) -> None:
    """Raise BadInput where the file system of a folder has less than `needed` bytes free.

    A file system that says nothing of its size is believed to have room. Quotas are not seen.
    """
    try:
        usage = shutil.disk_usage(folder)
    except OSError:  # what writes there says so
        return
    if usage.total and usage.free < needed:
        raise BadInput(f"{what} {size_words(needed)}, but {folder} has {size_words(usage.free)} free; {remedy}.")


def size_words(count: float) -> str:
    """Return a number of bytes for people: `3.6 MB`."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} KB"
