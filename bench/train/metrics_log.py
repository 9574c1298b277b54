"""What a run logs: `metrics.jsonl`, one JSON object per log step, and the same for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
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
        """Log the values after `step` optimizer steps."""
        if not self._active:
            return
        self._stream.write(json.dumps({"step": step, **values}) + "\n")
        self._stream.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._active:
            self._stream.close()
            self._board.close()


def drop_after(file: Path, step: int) -> None:
    """Drop the lines after `step` from a metrics file, and one that a killed process left half written."""
    if not file.exists():
        return
    text = file.read_text(encoding="utf-8")
    kept = "".join(line for line in text.splitlines(keepends=True) if _step_of(line) <= step)
    if kept != text:
        write_text(file, kept)


def _step_of(line: str) -> float:
    """The step of a whole line; infinity for anything else."""
    try:
        return int(json.loads(line)["step"]) if line.endswith("\n") else float("inf")
    except (ValueError, KeyError, TypeError):
        return float("inf")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a run's log: what it has logged so far, [] before that."""
    file, lines = folder / FILE, []
    with suppress(OSError, ValueError):  # a last line that is only half written
        for line in file.read_text(encoding="utf-8").splitlines():
            lines.append(json.loads(line))
    return lines
