"""What a run logs: `metrics.jsonl`, one JSON object per log step, and the same for TensorBoard and other trackers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bench.errors import one_line
from bench.files import write_text
from bench.metrics_file import FILE as FILE
from bench.metrics_file import values_of
from bench.trackers.board import Board
from bench.trackers.choice import TENSORBOARD, chosen
from bench.trackers.current import track

MOST_LINES = 10_000  # that are kept in memory while they cannot be written


class MetricsLog:
    """Appends to the log of a run; a resumed run first drops what was logged after its checkpoint.

    A line: {"step": optimizer steps done, "epoch": 0-based, "loss": …, its terms …, "lr": …, "images_per_second": …,
    "data_wait_share": …}. With `active=False` (a rank that writes no files) all methods do nothing.

    No result depends on the log: where it cannot be written that is said once, and the run goes on. The newest lines
    are kept, and written when there is room again; TensorBoard's file ends there.
    """

    def __init__(self, folder: Path, start_step: int, active: bool = True) -> None:
        self._active = active
        if not active:
            return
        self.file, self._start = folder / FILE, start_step
        self._lines: list[bytes] = []
        self._said, self._dropped = False, False
        self._stream: IO[bytes] | None = None
        self._append()
        # It has this file's steps, and drops them as this file does.
        wanted = TENSORBOARD in chosen()
        self._board = Board(folder, start_step + 1, self._say) if wanted else None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values after `step` optimizer steps; `flush` and the end put them on the disk."""
        if not self._active:
            return
        self._lines.append((json.dumps({"step": step, **values}) + "\n").encode())
        del self._lines[:-MOST_LINES]
        if self._board is not None:
            self._board.write(step, values)
        track(step, values)

    def flush(self) -> None:
        """Put what was logged on the disk."""
        if not self._active:
            return
        self._append()
        if self._board is not None:
            self._board.flush()

    def _append(self) -> None:
        """Write the lines that wait, all of them or none."""
        with self._only_said():
            if not self._dropped:
                drop_after(self.file, self._start)
                self._dropped = True
            if self._stream is None:
                self._stream = self.file.open("ab", buffering=0)
            text, size = memoryview(b"".join(self._lines)), os.fstat(self._stream.fileno()).st_size
            try:
                while text:
                    text = text[self._stream.write(text) :]
            except OSError:
                self._stream.truncate(size)  # of a line that is not whole the next one would be a part
                raise
            self._lines = []

    @contextmanager
    def _only_said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._say(error)

    def _say(self, error: OSError) -> None:
        if not self._said:
            self._said = True
            reason = error.strerror or one_line(error)
            with suppress(OSError):
                print(f"The log of {self.file.parent} cannot be written ({reason}); training goes on.", flush=True)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._active:
            return
        self._append()
        if self._stream is not None:
            self._stream.close()
        if self._board is not None:
            self._board.close()


def drop_after(file: Path, step: int) -> None:
    """Drop the lines after `step` from a metrics file, and one that a killed process left half written.

    Lines that are damaged, as by a disk, are dropped, too, which is said: a log that lacks them is no reason not to go
    on.
    """
    if not file.exists():
        return
    content = file.read_bytes()
    lines = content.splitlines(keepends=True)
    steps = [None if (values := values_of(line)) is None else values["step"] for line in lines]
    kept = b"".join(line for line, one in zip(lines, steps, strict=True) if one is not None and one <= step)
    if kept != content:
        write_text(file, kept.decode())
    damaged = [number for number, one in enumerate(steps, 1) if one is None and lines[number - 1].endswith(b"\n")]
    if damaged:
        count = f"{len(damaged)} damaged lines were" if len(damaged) > 1 else "a damaged line was"
        print(f"{file}: {count} dropped (line {damaged[0]})", flush=True)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a run's log: what it has logged so far, [] before that. Damaged ones are left out."""
    try:
        lines = (folder / FILE).read_bytes().splitlines(keepends=True)
    except OSError:
        return []
    return [values for line in lines if (values := values_of(line)) is not None]
