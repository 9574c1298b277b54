"""What a run logs: `metrics.jsonl`, one JSON object per log step, and the same for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.files import write_text

FILE = "metrics.jsonl"


class MetricsLog:
    """Appends to the log of a run; a resumed run first drops what was logged after its checkpoint.

    A line: {"step": optimizer steps done, "epoch": 0-based, "loss": …, its terms …, "lr": …, "images_per_second": …,
    "data_wait_share": …}. With `active=False` (a rank that writes no files) all methods do nothing.
    """

    def __init__(self, folder: Path, start_step: int, active: bool = True) -> None:
        self._active = active
        if not active:
            return
        self.file = folder / FILE
        drop_after(self.file, start_step)
        self._stream = self.file.open("a", encoding="utf-8")
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values after `step` optimizer steps; `flush` and the end put them on the disk."""
        if not self._active:
            return
        self._stream.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Put what was logged on the disk."""
        if self._active:
            self._stream.flush()
            self._board.flush()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._active:
            self._stream.close()
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
    steps = [None if (values := _values_of(line)) is None else values["step"] for line in lines]
    kept = b"".join(line for line, one in zip(lines, steps, strict=True) if one is not None and one <= step)
    if kept != content:
        write_text(file, kept.decode())
    damaged = [number for number, one in enumerate(steps, 1) if one is None and lines[number - 1].endswith(b"\n")]
    if damaged:
        count = f"{len(damaged)} damaged lines were" if len(damaged) > 1 else "a damaged line was"
        print(f"{file}: {count} dropped (line {damaged[0]})", flush=True)


def _values_of(line: bytes) -> dict[str, Any] | None:
    """What a whole line says; None for anything else."""
    try:
        values = json.loads(line.decode()) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not all(type(value) in (int, float) for value in values.values()):
        return None
    return values if isinstance(values.get("step"), int) else None


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a run's log: what it has logged so far, [] before that. Damaged ones are left out."""
    try:
        lines = (folder / FILE).read_bytes().splitlines(keepends=True)
    except OSError:
        return []
    return [values for line in lines if (values := _values_of(line)) is not None]
