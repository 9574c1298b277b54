"""Trackers that do what no tracker should."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from bench.trackers import Run, Status


class Raises:
    def start(self, run: Run, store: Path, known: str) -> str:
        raise ConnectionError("no network")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        raise ConnectionError("no network")

    def end(self, status: Status) -> None:
        raise ConnectionError("no network")


class RaisesLater(Raises):
    def start(self, run: Run, store: Path, known: str) -> str:
        random.seed(0)  # and it changes what it can
        print("hello from a library")
        return ""


class Hangs(RaisesLater):
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)


class HangsAtTheEnd(RaisesLater):
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def end(self, status: Status) -> None:
        while True:
            time.sleep(60)


class Dies(RaisesLater):
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Exits(RaisesLater):
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        sys.exit(3)


class Keeps:
    """Writes each call to a file in its store, and is not always reached."""

    def start(self, run: Run, store: Path, known: str) -> str:
        store.mkdir(parents=True, exist_ok=True)
        self.file = store / "calls.txt"
        self._note(f"start {run.name} {run.group} {known or 'anew'}")
        return run.id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._note(f"{step} {sorted(values)}")

    def end(self, status: Status) -> None:
        self._note(f"end {status}")

    def _note(self, words: str) -> None:
        with self.file.open("a") as file:
            print(words, file=file)
