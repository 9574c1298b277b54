"""SwanLab: with SWANLAB_API_KEY in its cloud, where runs go on; without one in the store, each sitting a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.trackers.run import Run, Status

STATES: Mapping[Status, str] = {"finished": "success", "failed": "crashed", "interrupted": "aborted"}


class ToSwanlab:
    """A run of SwanLab."""

    def __init__(self) -> None:
        self._swanlab: Any = None

    def start(self, run: Run, store: Path, known: str) -> str:
        """Begin a run, or go on with the one of the fingerprint, which SwanLab does in its cloud alone."""
        import swanlab

        store.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("SWANLAB_MODE") or ("online" if os.environ.get("SWANLAB_API_KEY") else "offline")
        online = {"id": run.id, "resume": "allow"} if mode in {"online", "cloud"} else {}
        swanlab.init(
            project=run.project,
            name=run.name,
            group=run.group,
            job_type=run.tags.get("kind", ""),
            tags=[f"{key}={value}" for key, value in run.tags.items()],
            config=dict(run.config),
            log_dir=str(store),
            mode=mode,
            **online,
        )
        self._swanlab = swanlab
        return run.id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log values after so many steps."""
        self._swanlab.log(dict(values), step=step)

    def end(self, status: Status) -> None:
        """End the sitting."""
        self._swanlab.finish(state=STATES[status])
