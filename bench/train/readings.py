"""What a run logs, read from the device seldom: a small run has dozens of log steps a second, and each reading waits.

At a log step the means are computed on the device, and queued. They are read, written and shown together once a second
has passed since the last time, and always before a checkpoint and on the way out, so that the log lacks no step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from bench.errors import StageFailed
from bench.train.meter import Means, Meter
from bench.train.metrics_log import MetricsLog

SECONDS = 1.0  # between two readings, at least


class Every:
    """Says when `seconds` have passed since the last `restart`; before the first one they have."""

    def __init__(self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock, self._last = seconds, clock, float("-inf")

    def due(self) -> bool:
        """Whether it is time."""
        return self._clock() - self._last >= self._seconds

    def restart(self) -> None:
        """Count from now on."""
        self._last = self._clock()


class Line(NamedTuple):
    """A line of the log, the means of which lie on the device; None: it has diagnostics alone."""

    step: int
    epoch: int
    means: Means | None
    known: Mapping[str, float]  # on the host already


class Readings:
    """The lines that were not read yet. As a context manager it reads them on the way out, too."""

    def __init__(self, log: MetricsLog, meter: Meter, world: int) -> None:
        self._log, self._meter, self._world = log, meter, world
        self._lines: list[Line] = []
        self.every = Every()

    def add(self, line: Line) -> None:
        """Queue a line; nothing waits for the device."""
        self._lines.append(line)

    def read(self, last_good: str) -> tuple[dict[str, float], dict[str, float]]:
        """Write the lines; return the newest means, and the speed since the last reading ({} where none was queued).

        It waits for the device once. All lines get the same speed, as the host, which is ahead of the device in
        between, could only say how fast work was handed out.

        Raises StageFailed for a mean that is not finite; the lines before it are written.
        """
        lines, self._lines = self._lines, []
        newest: dict[str, float] = {}
        speed: dict[str, float] = {}
        try:
            for line in lines:
                if line.means is not None:
                    newest = line.means.read(line.step, last_good)  # the first copy waits for all that was queued
                    if not speed:
                        speed = self._meter.speed(self._world)
                        self._meter.restart_clock()
                        self.every.restart()
                    means = newest | {"lr": line.known["lr"]} | speed
                else:
                    means = {}
                self._log.write(line.step, {"epoch": line.epoch, **means, **line.known})
        finally:
            self._log.flush()
        return newest, speed

    def __enter__(self) -> Readings:
        return self

    def __exit__(self, *_: object) -> None:
        # What ended the run is on its way: a mean that is not finite, or a device that failed, has nothing to add.
        with suppress(StageFailed, RuntimeError):
            self.read("")
