"""The process of one tracker: `python -m bench.trackers.serving module:Class NAME FOLDER`, started by `sending.py`.

It reads lines of JSON from the standard input: {"start": …}, {"step", "values"} …, {"end": status}. An input that ends
without the last one is of a stage that was killed. What the stage shall say is written to the standard output, a line
each; what the library prints goes to the standard error, which is the log.

`tracker-NAME.json` in the stage's folder remembers which run it was, and up to which step each name was logged, so that
a stage that goes on from a checkpoint logs no step twice.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.errors import one_line
from bench.files import read_json, write_text
from bench.import_path import working_directory_last
from bench.trackers.run import Run, Status, Tracker

LONGEST_PAUSE = 60.0  # seconds between two tries; the first ones come sooner
KEEP_SECONDS = 2.0  # between two notes of what was logged


class Serving:
    """Hands what is read to a tracker, again and again where that fails."""

    def __init__(
        self,
        make: Callable[[], Tracker],
        name: str,
        folder: Path,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._say, self._clock = make, say, clock
        self._file = folder / f"tracker-{name.replace(':', '.')}.json"
        self._store = folder.parent.parent / "trackers" / name.replace(":", ".")
        kept = read_json(self._file)
        self._known = str(kept.get("known", ""))
        self._logged: dict[str, int] = dict(kept.get("logged", {}))  # name -> the last step
        self._run: Run | None = None
        self._tracker: Tracker | None = None
        self._waiting: deque[tuple[int, dict[str, float]]] = deque()
        self._failures = 0
        self._next_try = self._kept_at = float("-inf")

    def serve(self, lines: Iterable[str | bytes]) -> None:
        """Read to the end, and end the tracker."""
        status: Status = "failed"
        for line in lines:
            message = json.loads(line)
            if "start" in message:
                self._run = Run(**message["start"])
            elif "end" in message:
                status = message["end"]
                break
            else:
                self._waiting.append((message["step"], message["values"]))
            if self._clock() >= self._next_try:
                self._try(self._deliver)
        if self._waiting or self._tracker is None:
            self._try(self._deliver)
        if (tracker := self._tracker) is not None:
            self._try(lambda: tracker.end(status))
            self._keep()

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
            self._failures = 0
        except Exception as error:
            self._failures += 1
            self._next_try = self._clock() + min(LONGEST_PAUSE, 2.0**self._failures)
            traceback.print_exc()
            self._say(one_line(error, kind=True))
        except SystemExit as error:  # of a library that ends its process
            self._say(f"it wanted to end with {error.code}")

    def _deliver(self) -> None:
        """Log what waits. Where that fails, what was not logged still waits."""
        assert self._run is not None
        if self._tracker is None:
            tracker = self._make()
            self._known = tracker.start(self._run, self._store, self._known)
            self._tracker = tracker
            self._keep()
        while self._waiting:
            step, values = self._waiting[0]
            new = {name: value for name, value in values.items() if step > self._logged.get(name, -1)}
            if new:
                self._tracker.scalars(step, new)
                self._logged |= dict.fromkeys(new, step)
            self._waiting.popleft()
        if self._clock() - self._kept_at >= KEEP_SECONDS:
            self._keep()

    def _keep(self) -> None:
        """Note what was logged. That this cannot be written is no problem of a tracker's."""
        self._kept_at = self._clock()
        with suppress(OSError):
            write_text(self._file, json.dumps({"known": self._known, "logged": self._logged}) + "\n")


def main(arguments: list[str]) -> None:
    """Serve until the standard input ends."""
    working_directory_last()  # an adapter may be a module there
    adapter, name, folder = arguments
    to_stage = os.dup(1)
    os.dup2(2, 1)

    def say(words: str) -> None:
        with suppress(OSError):
            os.write(to_stage, f"{words}\n".encode())

    def make() -> Any:
        module, _, kind = adapter.partition(":")
        return getattr(importlib.import_module(module), kind)()

    Serving(make, name, Path(folder), say).serve(sys.stdin.buffer)


if __name__ == "__main__":
    main(sys.argv[1:])
