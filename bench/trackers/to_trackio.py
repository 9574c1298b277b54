"""Trackio: in a SQLite file in the store, which `trackio show` shows, or where TRACKIO_… in the environment says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.trackers.run import Run, Status


class ToTrackio:
    """A run of Trackio, which knows runs by their names alone: ours ends with the start of the fingerprint."""

    def __init__(self) -> None:
        self._run: Any = None

    def start(self, run: Run, store: Path, known: str) -> str:
        """Begin a run, or go on with the one of that name."""
        os.environ.setdefault("TRACKIO_DIR", str(store.absolute()))  # read when it is imported
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
        import trackio

        name = f"{run.name}-{run.id[:6]}"
        self._run = trackio.init(
            project=run.project,
            name=name,
            group=run.group,
            config={**run.tags, **run.config},
            resume="allow",
            embed=False,
            auto_log_gpu=False,  # of this process, not of the stage's
            auto_log_cpu=False,
        )
        return name

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log values after so many steps."""
        self._run.log(dict(values), step=step)

    def end(self, status: Status) -> None:
        """End the sitting; Trackio knows no status."""
        self._run.finish()
