"""The bars of a stage on a terminal: how far its loop is, and below it how far the grid is that it belongs to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from bench.printable import ERASE, cut_middle, printable

MAIN_UNITS = frozenset({"steps", "iterations"})  # of loops that take most of their stage's time
NARROW, WIDE = 80, 120  # columns of a terminal from which on bars are longer, and long
GRID = "grid"  # what its bar is called
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # a terminal's cursor

_place: Place | None = None  # of the stage in its grid


@dataclass(frozen=True)
class Place:
    """Where a stage stands in a grid whose stages run one after another."""

    number: int  # of the stage, from 1 on
    of: int  # stages
    seconds: float | None = None  # that such a stage took before; None: not known
    seconds_after: float | None = None  # that the stages after it will take; None where that of one is not known
    began: float = field(default_factory=time.monotonic)

    def left(self, loop: float | None, unit: str, now: float) -> float | None:
        """Return the seconds that are left of the grid; None where they are not known.

        `loop` are those left of the loop at hand, of `unit`, as far as they are known.
        """
        stage = stage_seconds_left(self.seconds, now - self.began, loop, unit)
        return None if stage is None or self.seconds_after is None else stage + self.seconds_after


def stage_seconds_left(known: float | None, elapsed: float, loop: float | None, unit: str) -> float | None:
    """Return the seconds that are left of a stage; None where they are not known.

    Args:
        known: that such a stage took before.
        elapsed: since it began.
        loop: that are left of the loop at hand.
        unit: of that loop. What is counted in steps is most of a stage; other loops are parts of one.
    """
    if loop is not None and unit in MAIN_UNITS:
        return loop
    return None if known is None else max(known - elapsed, loop or 0.0, 0.0)


def clock_words(seconds: float) -> str:
    """Return a time as a clock has it: `3:32`, `2:30:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def in_grid(place: Place | None) -> Iterator[None]:
    """Let bars within show, too, where their stage stands in its grid; for None they don't."""
    global _place
    before, _place = _place, place
    try:
        yield
    finally:
        _place = before


class Bars:
    """A loop's bar, and its grid's below it where there is one; without threads, since loaders fork.

    The cursor stays where they begin. Lines that other processes print meanwhile stand in their place, and they are
    drawn anew below: nobody needs to know how many lines another one has drawn.
    """

    def __init__(self, stream: TextIO, title: str, total: int, done: int) -> None:
        self._stream, self._console = stream, Console(file=stream)
        console = self._console
        self.total, self.place = total, _place
        self._grid_is_shown = self.place is not None
        name = cut_middle(printable(title), max(12, console.width // 4))
        long = 24 if console.width >= WIDE else 10 if console.width >= NARROW else 6
        self._room = console.width - cell_len(name) - long - 2
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=long),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
            auto_refresh=False,
        )
        self._loop = self._bars.add_task(name, total=total or None, completed=done, text="")
        stages = 1 if self.place is None else self.place.of
        self._grid = self._bars.add_task(GRID, total=stages, text="", visible=self._grid_is_shown)

    def draw(self, done: int, said: Sequence[str], beside: Sequence[str], unit: str, loop: float | None) -> None:
        """Draw them anew. Of what is said, as much is shown as there is room for.

        Args:
            done: of the loop's units.
            said: about the loop.
            beside: what is said of the stage beyond that; it stands where there is more room.
            unit: of the loop.
            loop: seconds that are left of it, as far as they are known.
        """
        place = self.place
        if place is None or not self._grid_is_shown:
            said = [*said, *beside]
        else:
            within = done / self.total if unit in MAIN_UNITS and self.total else 0.0
            left = place.left(loop, unit, time.monotonic())
            known = [] if left is None else [f"about {clock_words(left)} left"]
            words = [f"stage {place.number} of {place.of}", *known, *beside]
            self._bars.update(self._grid, completed=place.number - 1 + within, text=self._fitting(words))
        self._bars.update(self._loop, completed=done, text=self._fitting(said))
        text = self._text()
        above = f"\x1b[{lines}A" if (lines := text.count("\n")) else ""
        self._put(f"{HIDE}{ERASE}{text}\r{above}")

    def _fitting(self, said: Sequence[str]) -> str:
        """As many words as there is room for; the first are shown all the same."""
        text = printable(said[0])
        for each in map(printable, said[1:]):
            if cell_len(f"{text}, {each}") > self._room:
                break
            text += f", {each}"
        return text

    def stop(self) -> None:
        """Leave the loop's bar as it stands; the grid's goes, or there would be one for each loop."""
        self._put(f"{ERASE}{self._text()}\n{SHOW}")

    def hide_grid(self) -> None:
        """Leave out the grid's bar from the next drawing on."""
        self._grid_is_shown = False
        self._bars.update(self._grid, visible=False)

    def _text(self) -> str:
        """The lines of the bars, with their colours."""
        with self._console.capture() as drawn:
            self._console.print(self._bars.get_renderable())
        return drawn.get().rstrip("\n")

    def _put(self, text: str) -> None:
        """Write at once, so that what other processes print comes before or after it. Raises OSError."""
        left = text.encode(self._stream.encoding or "utf-8", "replace")
        while left:
            left = left[os.write(self._stream.fileno(), left) :]
