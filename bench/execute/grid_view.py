"""What stands below the lines of a grid whose stages run side by side, on a terminal: how far it and they are."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from bench.execute.jobs.durations import seconds_left
from bench.execute.jobs.status import Row, rows
from bench.execute.jobs.view import Look, brief
from bench.printable import is_drawn_on

DRAW_SECONDS = 2.0  # between two drawings
GONE = (OSError, SystemExit)  # of a terminal that was closed: rich ends a program whose pipe nobody reads
EASE = 10  # of a large folder, a look is followed by a pause of so many times what it took


class GridView:
    """Draws how the stages in some folders of a work folder get on. A context manager; not on a terminal it is silent.

    Lines that are printed meanwhile stand above it.
    """

    def __init__(self, work_dir: Path, folders: Collection[Path]) -> None:
        self.work_dir, self.folders = work_dir, {folder.absolute() for folder in folders}
        self._console = Console()
        self._live: Live | None = None
        self._stack = ExitStack()
        self._next = -math.inf

    def __enter__(self) -> Self:
        if is_drawn_on(sys.stdout):
            self._live = self._stack.enter_context(Live(console=self._console, auto_refresh=False, transient=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(*GONE):
            self._stack.close()

    def draw(self, now: float) -> None:
        """Draw it, if it is time to; `now` is the time of any clock, in seconds."""
        if self._live is None or now < self._next:
            return
        began = time.monotonic()
        try:
            self._live.update(brief(self.look(), self._console), refresh=True)
        except GONE:  # what trains goes on
            self._live = None
        self._next = now + max(DRAW_SECONDS, EASE * (time.monotonic() - began))

    def look(self) -> Look:
        """Return how the grid gets on."""
        found = [row for row in rows(self.work_dir) if self._is_ours(row)]
        return Look(found, self.work_dir, seconds_left(found))

    def _is_ours(self, row: Row) -> bool:
        return row.folder.absolute() in self.folders
