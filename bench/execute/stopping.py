"""SIGTERM and SIGHUP as a request to stop in good order, as Ctrl-C is one, wherever a process is at the time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# What a cluster or the end of a parent sends, and what the end of a terminal does.
SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class AskedToStop(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: nobody but this process need have got it, while Ctrl-C reaches a whole group."""


def heeded(number: signal.Signals) -> bool:
    """Whether a signal is one to stop at: SIGHUP is none where whoever started this process had it ignored (nohup)."""
    return signal.getsignal(number) is not signal.SIG_IGN


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise AskedToStop within when SIGTERM or SIGHUP comes for the first time; later ones are passed over.

    A terminal that is closed sends SIGHUP twice, and what is being written at the first must not suffer from the
    second. In another thread than the main one, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise AskedToStop(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in SIGNALS if heeded(number)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
