"""Weights & Biases. Without a key, or with WANDB_MODE=offline, runs lie in the store; `wandb sync` uploads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.trackers.run import Run, Status

STEP = "step"  # an axis of our own: W&B's counter would drop what comes late, such as scores of a validation


class ToWandb:
    """A run of W&B; its id is the stage's fingerprint, so that a stage that goes on has no second one."""

    def __init__(self) -> None:
        self._run: Any = None

    def start(self, run: Run, store: Path, known: str) -> str:
        """Begin or go on with a run."""
        import wandb

        store.mkdir(parents=True, exist_ok=True)
        kind = run.tags.get("kind", "")
        self._run = wandb.init(
            project=run.project,
            group=run.group,
            job_type=kind,
            name=run.name,
            id=run.id,
            resume="allow",
            tags=[f"{key}={value}" for key, value in run.tags.items()],
            config=dict(run.config),
            dir=str(store),
            mode=None if _may_connect() else "offline",
            # Nothing of this process is of interest: not its output, its code or its use of the machine.
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True
            ),
        )
        self._run.define_metric("*", step_metric=STEP)
        return run.id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log values after so many steps."""
        self._run.log({STEP: step, **values})

    def end(self, status: Status) -> None:
        """End the sitting; W&B shows all that did not finish as failed."""
        self._run.finish(exit_code=0 if status == "finished" else 1)


def _may_connect() -> bool:
    """Whether the user chose a mode, or has a key; else W&B would ask for one."""
    if os.environ.get("WANDB_MODE") or os.environ.get("WANDB_API_KEY"):
        return True
    import netrc
    from contextlib import suppress
    from urllib.parse import urlsplit

    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    with suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    return False
