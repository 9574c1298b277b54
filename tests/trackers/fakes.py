"""Stand-ins for the libraries of trackers, with the parameters that theirs have, which note how they are called.

`test_real_trackers.py` compares the noted calls with the libraries themselves, where these are installed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

Call = tuple[str, tuple[Any, ...], dict[str, Any]]  # a name, as in mlflow.tracking.MlflowClient.log_batch


@dataclass
class Calls:
    all: list[Call] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)  # name -> what a call of it returns

    def note(self, name: str) -> Callable[..., Any]:
        def noted(*words: Any, **more: Any) -> Any:
            self.all.append((name, words, more))
            answer = self.answers.get(name)
            return answer(*words, **more) if callable(answer) else answer

        return noted

    def of(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(words, more) for each, words, more in self.all if each == name]


class Noting:
    """An object each method of which is noted under `name.method`."""

    def __init__(self, calls: Calls, name: str) -> None:
        self._calls, self._name = calls, name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return self._calls.note(f"{self._name}.{method}")

    def __setitem__(self, key: str, value: Any) -> None:
        self._calls.all.append((f"{self._name}[]", (key, value), {}))


def _module(patch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    module = ModuleType(name)
    module.__dict__.update(content)
    patch.setitem(sys.modules, name, module)


def wandb(patch: pytest.MonkeyPatch) -> Calls:
    calls = Calls(answers={})
    calls.answers["wandb.init"] = lambda **_: Noting(calls, "wandb.Run")
    _module(patch, "wandb", init=calls.note("wandb.init"), Settings=calls.note("wandb.Settings"))
    return calls


def mlflow(patch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    client = "mlflow.tracking.MlflowClient"
    calls.answers = {
        client: lambda **_: Noting(calls, client),
        f"{client}.create_experiment": "7",
        f"{client}.create_run": SimpleNamespace(info=SimpleNamespace(run_id="abc")),
        "mlflow.entities.Param": lambda key, value: (key, value),
        "mlflow.entities.Metric": lambda key, value, timestamp, step: (key, value, step),
    }
    _module(patch, "mlflow")
    entities = {name: calls.note(f"mlflow.entities.{name}") for name in ("Param", "Metric")}
    _module(patch, "mlflow.entities", **entities)
    _module(patch, "mlflow.tracking", MlflowClient=calls.note(client))
    return calls


def trackio(patch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    calls.answers["trackio.init"] = lambda **_: Noting(calls, "trackio.Run")
    _module(patch, "trackio", init=calls.note("trackio.init"))
    return calls


def aim(patch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()

    def begun(**_: Any) -> Any:
        run = Noting(calls, "aim.Run")
        run.hash = "f00d"  # type: ignore[attr-defined]
        return run

    calls.answers["aim.Run"] = begun
    _module(patch, "aim", Run=calls.note("aim.Run"))
    return calls


def swanlab(patch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    _module(patch, "swanlab", **{name: calls.note(f"swanlab.{name}") for name in ("init", "log", "finish")})
    return calls


FAKES: dict[str, Callable[[pytest.MonkeyPatch], Calls]] = {
    "wandb": wandb,
    "mlflow": mlflow,
    "trackio": trackio,
    "aim": aim,
    "swanlab": swanlab,
}
