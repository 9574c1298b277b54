"""MLflow: at MLFLOW_TRACKING_URI, or in a SQLite file in the store, which `mlflow ui` shows."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.trackers.run import Run, Status

URI = "MLFLOW_TRACKING_URI"
AT_ONCE = 100  # parameters in a request, at most
LONGEST = 500  # characters of a parameter: all versions take so many
STATES: Mapping[Status, str] = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class ToMlflow:
    """A run of MLflow in the experiment of the project, without MLflow's global state."""

    def __init__(self) -> None:
        self._client: Any = None
        self._id = ""

    def start(self, run: Run, store: Path, known: str) -> str:
        """Begin a run, or go on with the known one."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        uri = os.environ.get(URI)
        if not uri:
            store.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{(store / 'mlflow.db').absolute()}"
        self._client = client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        if known:
            client.update_run(known, status="RUNNING")
            self._id = known
            return known
        experiment = client.get_experiment_by_name(run.project)
        if experiment is not None:
            number = experiment.experiment_id
        else:
            # Files of runs, of which we keep none, would otherwise lie in the working directory.
            place = None if os.environ.get(URI) else (store / "artifacts").absolute().as_uri()
            number = client.create_experiment(run.project, artifact_location=place)
        tags = {"group": run.group, "fingerprint": run.id, **run.tags}
        created = client.create_run(number, run_name=run.name, tags=tags)
        self._id = created.info.run_id
        params = [Param(_name(key), str(value)[:LONGEST]) for key, value in run.config.items()]
        for first in range(0, len(params), AT_ONCE):
            client.log_batch(self._id, params=params[first : first + AT_ONCE])
        return self._id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log values after so many steps."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(_name(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def end(self, status: Status) -> None:
        """Say how the sitting ended."""
        self._client.set_terminated(self._id, STATES[status])


def _name(name: str) -> str:
    """Return a name of the characters that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)
