"""The trackers of the stage that this process runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from bench.errors import Interrupted
from bench.trackers.board import Board
from bench.trackers.choice import TENSORBOARD, chosen
from bench.trackers.run import RESULTS, Run, Status, numbers
from bench.trackers.sending import Sending, end_all


class _Sink(Protocol):
    def write(self, step: int, values: Mapping[str, float]) -> None: ...


class Tracking:
    """Hands what a stage tracks to each of its trackers. None is started before there is something to track."""

    def __init__(self, run: Callable[[], Run], folder: Path, names: tuple[str, ...], logs_itself: bool) -> None:
        self._run, self._folder, self._names = run, folder, names
        self._logs_itself = logs_itself
        self._has_board = TENSORBOARD in names and not logs_itself
        self._board: Board | None = None
        self._sendings: list[Sending] | None = None
        self._last = 0

    def track(self, step: int, values: Mapping[str, float]) -> None:
        """Hand on the values after a step."""
        values = numbers(values)
        if not values:
            return
        self._last = max(self._last, step)
        if self._sendings is None:
            others = [name for name in self._names if name != TENSORBOARD]
            run = self._run() if others else None
            self._sendings = [Sending(name, run, self._folder) for name in others if run is not None]
            if self._has_board:
                self._board = Board(self._folder, step)
        sinks: list[_Sink] = [*self._sendings, *([self._board] if self._board is not None else [])]
        for sink in sinks:
            sink.write(step, values)

    def results(self, metrics: Mapping[str, Any]) -> None:
        """Hand on what a stage returns, at the last step that it tracked."""
        if not self._logs_itself:
            self.track(self._last, numbers(metrics, RESULTS))

    def end(self, status: Status) -> None:
        """End all of them."""
        if self._board is not None:
            self._board.close()
        end_all(self._sendings or [], status)


_current: Tracking | None = None


def track(step: int, values: Mapping[str, float]) -> None:
    """Show values to the trackers of the stage at hand: what is plotted over its steps.

    Args:
        step: how many steps, iterations or epochs are done; it never falls within one name.
        values: numbers on the host already, by name; a slash groups them. What is not finite is left out.

    It takes microseconds, and raises nothing because of a tracker. Outside a stage, and in ranks but the first, it does
    nothing.
    """
    if _current is not None:
        _current.track(step, values)


def track_results(metrics: Mapping[str, Any]) -> None:
    """Show what a stage returned."""
    if _current is not None:
        _current.results(metrics)


@contextmanager
def tracked(run: Callable[[], Run], folder: Path, *, logs_itself: bool = False) -> Iterator[None]:
    """Let `track` within reach the trackers that the environment asks for.

    Args:
        run: says what trackers are told of the stage; called once there is something to track.
        folder: of the stage.
        logs_itself: whether the stage writes TensorBoard's files by itself, and has logged its results.
    """
    global _current
    before, _current = _current, Tracking(run, folder, chosen(os.environ), logs_itself)
    status: Status = "failed"
    try:
        yield
        status = "finished"
    except (Interrupted, KeyboardInterrupt):
        status = "interrupted"
        raise
    finally:
        ending, _current = _current, before
        ending.end(status)
