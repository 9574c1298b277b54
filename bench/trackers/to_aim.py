"""Aim: in a repository in the store, which `aim up --repo` shows, or in the one that AIM_REPO names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.trackers.run import Run, Status


class ToAim:
    """A run of Aim in the experiment of the project."""

    def __init__(self) -> None:
        self._run: Any = None

    def start(self, run: Run, store: Path, known: str) -> str:
        """Begin a run, or go on with the known one."""
        os.environ.setdefault("AIM_DISABLE_TELEMETRY", "1")
        import aim

        repo = os.environ.get("AIM_REPO")
        if repo is None:
            store.mkdir(parents=True, exist_ok=True)
            repo = str(store.absolute())
        self._run = aim.Run(
            run_hash=known or None,
            repo=repo,
            experiment=run.project,
            system_tracking_interval=None,  # of this process, not of the stage's
            log_system_params=False,
            capture_terminal_logs=False,
        )
        if not known:
            self._run.name = run.name
            self._run["group"] = run.group
            self._run["config"] = dict(run.config)
            for key, value in run.tags.items():
                self._run.add_tag(f"{key}={value}")
        return str(self._run.hash)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log values after so many steps."""
        for name, value in values.items():
            self._run.track(value, name=name, step=step)

    def end(self, status: Status) -> None:
        """End the sitting."""
        self._run["status"] = status
        self._run.close()
