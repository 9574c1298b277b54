"""What a person sees while a long loop runs: a bar on a terminal, otherwise a plain line now and then.

An update costs microseconds and never waits for a device; hand it numbers that are on the host already. While a step
takes long, a thread shows for how long it has been running; it lives as long as the loop.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TextIO

from bench.files import write_text
from bench.peak_memory import memory_words, peak_memory_mib
from bench.printable import is_drawn_on, over_bars
from bench.progress_bar import Bars, clock_words

BAR_SECONDS = 0.2  # between two drawings of the bar
LINE_SECONDS = 5.0  # between two plain lines
WINDOW = 30  # drawings that the rate is taken over, and steps that the median is of, so that a slow start is forgotten
LOOK_SECONDS = 1.0  # between two looks of the thread
BAR_QUIET, LINE_QUIET = 2.0, 60.0  # seconds without news after which a bar, or plain lines, say that a step is running
NOTE_SECONDS = 3.0  # between two notes of how far it is, for other processes
PROGRESS = "progress.json"  # in a stage's folder: the newest of these notes

_screen: TextIO | None = None  # a terminal to draw on, where the standard output is none because it is also kept
_log: TextIO | None = None  # where plain lines are kept that the terminal does not show
_note: Path | None = None  # where it is noted for other processes
WAITING = "waiting for data"  # the field that says which share of the time a loop waited


@contextmanager
def shown_on(screen: TextIO, log: TextIO) -> Iterator[None]:
    """Let progress be drawn on the terminal `screen`, with a plain line now and then in `log`."""
    global _screen, _log
    before, (_screen, _log) = (_screen, _log), (screen, log)
    try:
        yield
    finally:
        _screen, _log = before


@contextmanager
def noted_in(file: Path | None) -> Iterator[None]:
    """Let `file` say how far the newest progress within is.

    That is {"title", "done", "total", "unit", "seconds_left", "peak_memory_mib": {"process", "gpu"}}, and
    "waiting_for_data", as "12%", where that is known. An earlier file is removed first. Nothing is noted for None.
    """
    global _note
    before, _note = _note, file
    if file is not None:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
    try:
        yield
    finally:
        _note = before


class Progress:
    """Shows how far a loop is, its rate and the time left.

        with Progress("coco-s0", total=400, unit="steps") as progress:
            for step in range(400):
                ...
                progress.update(1, loss=2.31)

    `done` is how many units were finished before this process (they do not count for the rate). A float field is
    shown with four significant digits; a field stays until it is given another value. `BENCH_PLAIN` in the environment
    asks for plain lines on a terminal, too.
    """

    def __init__(
        self,
        title: str,
        total: int,
        unit: str = "steps",
        *,
        done: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.total, self.unit, self.done = title, total, unit, done
        # The terminal may have been closed: what is printed still gets to the log.
        on_screen = stream is None and _screen is not None and is_drawn_on(_screen)
        self._stream = stream or (_screen if on_screen and _screen is not None else sys.stdout)
        self._log = _log if on_screen else None
        self._clock = clock
        self._fields: dict[str, str | float] = {}
        self._bar: Bars | None = None
        self._memory: dict[str, float] = {}  # as it was last looked up
        self._interval, self._quiet = LINE_SECONDS, LINE_QUIET
        self._shown_at = self._logged_at = self._said_at = self._noted_at = float("-inf")
        self._seen: deque[tuple[float, int]] = deque(maxlen=WINDOW)
        self._news_at = clock()  # when the last update came
        self._counting = True  # whether that update counted something
        self._steps: deque[float] = deque(maxlen=WINDOW)  # seconds between updates that counted something
        self._lock = threading.RLock()  # of what both threads draw
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        if is_drawn_on(self._stream):
            # A stream of its own and no redirection: loaders fork, and a lock that the thread holds would be held for
            # ever in their processes, which print.
            self._stream = os.fdopen(os.dup(self._stream.fileno()), "w")
            self._bar = Bars(self._stream, self.title, self.total, self.done)
            self._interval, self._quiet = BAR_SECONDS, BAR_QUIET
        self._news_at = self._clock()
        self._show(self._news_at)
        self._looking.start()
        return self

    def update(self, n: int = 1, **fields: str | float) -> None:
        """Count `n` more units and show `fields` beside them; drawn only when it is time to."""
        self.done += n
        self._fields |= fields
        now = self._clock()
        if n and self._counting:
            self._steps.append(now - self._news_at)
        self._news_at, self._counting = now, bool(n)
        if now - self._shown_at >= self._interval:
            self._show(now)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._looking.join()
        self._logged_at = self._noted_at = float("-inf")
        if self._bar is not None:
            self._bar.hide_grid()
        self._show(self._clock())
        if self._bar is not None:
            with self._on_screen():
                self._bar.stop()
        if self._bar is not None:
            self._stream.close()
            self._bar = None

    def say_running(self) -> None:
        """Show for how long the step at hand has been running, if nothing has been shown for some time."""
        now = self._clock()
        with self._lock:
            if now - max(self._shown_at, self._said_at) < self._quiet:
                return
            self._said_at = now
            if self._bar is not None:
                self._said_at -= self._quiet - LOOK_SECONDS  # from now on at each look
                self._draw(self._bar, self._running(now))
                self._keep(now, self._running(now))
            else:
                self._write(f"{self.title}: {self._running(now)}\n")

    def say_stopping(self) -> None:
        """Say that the step at hand is the last, and how long it may take. Another thread than the loop's may call."""
        unit = self.unit.removesuffix("s") if self._counting else "batch"
        words = f"Stopping after this {unit}"
        if self._counting and self._steps:
            words += f", in at most about {math.ceil(statistics.median(tuple(self._steps)))} s"
        elif self._counting:
            words += f"; how long it takes is not known, since no {unit} has ended yet"
        with self._lock:
            with contextlib.suppress(OSError):  # the log shall have it all the same
                self._write(f"{over_bars(self._stream)}{words}. Ctrl-C again ends at once.\n")
            if self._log is not None:
                with contextlib.suppress(OSError):
                    print(words + ".", file=self._log, flush=True)

    def line(self) -> str:
        """Return what is shown, as text: `120/800 steps, 3.2 steps/s, 3:32 left, loss 2.31`."""
        return ", ".join([*self._counts(), *self._said(self._fields)])

    def _counts(self) -> list[str]:
        """How far it is, how fast, and the time left."""
        parts = [f"{self.done}/{self.total} {self.unit}"]
        if (rate := self._rate()) is not None:
            one = self.unit.removesuffix("s")
            parts.append(f"{rate:.3g} {self.unit}/s" if rate >= 1 else f"{1 / rate:.3g} s/{one}")
            if self.done < self.total:
                parts.append(f"{clock_words((self.total - self.done) / rate)} left")
        return parts

    def _said(self, names: Iterable[str]) -> list[str]:
        """Fields in words."""
        return [f"{name} {_shown(self._fields[name])}" for name in names]

    def _draw(self, bar: Bars, *running: str) -> None:
        """Draw the bar; what the machine does stands behind the rest, as a narrow terminal has no room for all."""
        counts, *more = [*self._counts(), *self._said(name for name in self._fields if name != WAITING)]
        beside = [f"data wait {self._fields[WAITING]}"] if WAITING in self._fields else []
        beside += [f"memory {words}"] if (words := memory_words(self._memory)) else []
        bar.draw(self.done, [*(running or [counts]), *more], beside, self.unit, self._seconds_left())

    def _seconds_left(self) -> float | None:
        rate = self._rate()
        return None if rate is None else (self.total - self.done) / rate

    @contextmanager
    def _on_screen(self) -> Iterator[None]:
        """Go on in plain lines on the standard output when the terminal of the bar is closed."""
        try:
            yield
        except OSError:
            self._bar, self._log = None, None
            self._interval, self._quiet = LINE_SECONDS, LINE_QUIET
            with contextlib.suppress(OSError):  # of what it still holds
                self._stream.close()
            self._stream = sys.stdout

    def _rate(self) -> float | None:
        """Units a second over the last drawings; None as long as nothing is known."""
        if len(self._seen) > 1:
            (first, before), (last, after) = self._seen[0], self._seen[-1]
            if last > first and after > before:
                return (after - before) / (last - first)
        return None

    def _note(self, now: float) -> None:
        """Say in a file how far it is, if it is time to. That this cannot be written must not end what trains."""
        if (_note is None and self._bar is None) or now - self._noted_at < NOTE_SECONDS:
            return
        self._noted_at, self._memory = now, peak_memory_mib(ask_driver=False)
        if _note is None:
            return
        left = self._seconds_left()
        content = {
            "title": self.title,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "seconds_left": None if left is None else round(left, 1),
            "peak_memory_mib": self._memory,
        }
        if WAITING in self._fields:
            content["waiting_for_data"] = _shown(self._fields[WAITING])
        with contextlib.suppress(OSError):
            write_text(_note, json.dumps(content) + "\n")

    def _show(self, now: float) -> None:
        with self._lock:
            self._shown_at = now
            self._seen.append((now, self.done))
            self._note(now)
            if self._bar is not None:
                with self._on_screen():
                    self._draw(self._bar)
            if self._bar is not None:
                self._keep(now, self.line())
            else:
                with contextlib.suppress(OSError):  # nobody reads it any more, or the disk is full: training goes on
                    print(f"{self.title}: {self.line()}", file=self._stream, flush=True)

    def _keep(self, now: float, words: str) -> None:
        """Write a plain line to the log, if it is time to."""
        if self._log is not None and now - self._logged_at >= LINE_QUIET:
            self._logged_at = now
            with contextlib.suppress(OSError):  # of a full disk: training goes on
                print(f"{self.title}: {words}", file=self._log, flush=True)

    def _running(self, now: float) -> str:
        seconds = now - self._news_at
        duration = f"{seconds:.0f} s" if seconds < 120 else clock_words(seconds)
        if self.unit in {"steps", "iterations"} and self._counting and self.done < self.total:
            return f"{self.unit.removesuffix('s')} {self.done + 1} of {self.total} running for {duration}"
        return f"{self.done}/{self.total} {self.unit}, the next batch running for {duration}"

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with contextlib.suppress(OSError, ValueError):  # of a reader who has left: the loop will meet it
                self.say_running()

    def _write(self, text: str) -> None:
        """Write without the lock of a buffered stream, which a process that is forked meanwhile would keep for ever."""
        try:
            os.write(self._stream.fileno(), text.encode())
        except io.UnsupportedOperation:
            self._stream.write(text)


def _shown(value: str | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
