"""What a person sees while a long loop runs: a bar on a terminal, otherwise a plain line now and then.

An update costs microseconds and never waits for a device; hand it numbers that are on the host already.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress

BAR_SECONDS = 0.2  # between two drawings of the bar
LINE_SECONDS = 5.0  # between two plain lines
WINDOW = 30  # drawings that the rate is taken over, so that a slow start is forgotten


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
        self._stream = stream or sys.stdout
        self._clock = clock
        self._fields: dict[str, str | float] = {}
        self._bar: RichProgress | None = None
        self._interval = LINE_SECONDS
        self._shown_at = float("-inf")
        self._seen: deque[tuple[float, int]] = deque(maxlen=WINDOW)

    def __enter__(self) -> Progress:
        if self._stream.isatty() and not os.environ.get("BENCH_PLAIN"):
            # Without rich's drawing thread: loaders fork, and a lock that a thread holds would be held for ever there.
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}"),
                console=Console(file=self._stream),
                auto_refresh=False,
            )
            self._bar.add_task(self.title, total=self.total or None, completed=self.done, text="")
            self._bar.start()
            self._interval = BAR_SECONDS
        self._show(self._clock())
        return self

    def update(self, n: int = 1, **fields: str | float) -> None:
        """Count `n` more units and show `fields` beside them; drawn only when it is time to."""
        self.done += n
        self._fields |= fields
        now = self._clock()
        if now - self._shown_at >= self._interval:
            self._show(now)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show(self._clock())
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def line(self) -> str:
        """Return what is shown, as text: `120/800 steps, 3.2 steps/s, 3:32 left, loss 2.31`."""
        parts = [f"{self.done}/{self.total} {self.unit}"]
        if len(self._seen) > 1:
            (first, before), (last, after) = self._seen[0], self._seen[-1]
            if last > first and after > before:
                rate = (after - before) / (last - first)
                parts.append(
                    f"{rate:.3g} {self.unit}/s" if rate >= 1 else f"{1 / rate:.3g} s/{self.unit.removesuffix('s')}"
                )
                if self.done < self.total:
                    parts.append(f"{_duration((self.total - self.done) / rate)} left")
        parts += [f"{name} {_shown(value)}" for name, value in self._fields.items()]
        return ", ".join(parts)

    def _show(self, now: float) -> None:
        self._shown_at = now
        self._seen.append((now, self.done))
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, text=self.line())
            self._bar.refresh()
        else:
            print(f"{self.title}: {self.line()}", file=self._stream, flush=True)


def _shown(value: str | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
