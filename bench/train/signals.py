"""SIGINT, SIGTERM and SIGHUP ask a run to stop after the step at hand, with a checkpoint."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bench.errors import Interrupted
from bench.storage import stop_waiting

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 10.0  # that a loop has to leave by itself after a second Ctrl-C


class StopRequest:
    """Catches the signals while a loop runs. `asked` turns true with the first; a second Ctrl-C ends it at once.

    Python calls a handler only between two of its own instructions, and a long operation of torch is one. A thread
    therefore learns of the signals as they come: with the first it calls `announce`, and it ends the process when a
    second Ctrl-C has not ended the loop. It ends with the block.

    Only a program's main thread can catch signals; in any other, nothing is caught.
    """

    def __init__(self) -> None:
        self.asked = False
        self.announce: Callable[[], None] | None = None  # says that the run will stop; called by another thread
        self._before: dict[signal.Signals, Any] = {}
        self._ended = threading.Event()

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            stop_waiting.clear()
            self._heard, self._told = os.pipe()
            os.set_blocking(self._told, False)
            self._wake_before = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
            self._listener = threading.Thread(target=self._listen, name="stop-request", daemon=True)
            self._listener.start()
            # SIGHUP, which comes when a terminal is closed, is ignored where whoever started the run said so (nohup).
            ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS if number not in ignored}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            self._ended.set()
            signal.set_wakeup_fd(self._wake_before)
            os.write(self._told, b"\0")
            self._listener.join()
            os.close(self._told)
            os.close(self._heard)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
        stop_waiting.set()  # a checkpoint that waits for space waits no longer

    def _listen(self) -> None:
        """Read the numbers of the signals that arrive, among them others than ours, until the 0 at the end."""
        asked = False
        while True:
            for number in os.read(self._heard, 64):
                if number == 0:
                    return
                if asked and number == signal.SIGINT and not self._ended.wait(GRACE_SECONDS):
                    os._exit(Interrupted.exit_code)
                if not asked and number in SIGNALS:
                    asked = True
                    if self.announce is not None:
                        with contextlib.suppress(OSError, ValueError):  # of a reader who has left
                            self.announce()


@contextmanager
def shielded() -> Iterator[None]:
    """Processes started within never get the signals.

    A terminal, torchrun and a cluster send them to the whole process group: without this, the loader's workers
    would die in the middle of the step that is to be finished. They end when their loader does, or their parent.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
