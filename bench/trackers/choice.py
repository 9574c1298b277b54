"""Which trackers are asked for: by `--tracker`, or by the environment, which the processes of stages inherit."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from bench.errors import BadInput, nearest_or_all
from bench.trackers.run import DEFAULT_PROJECT

VARIABLE, PROJECT = "BENCH_TRACKER", "BENCH_TRACKER_PROJECT"
TENSORBOARD, NONE = "tensorboard", "none"


@dataclass(frozen=True)
class Adapter:
    """What serves a tracker, and what must be installed for it."""

    target: str  # module:Class
    package: str  # that pip installs
    modules: tuple[str, ...]  # that must be there
    local: tuple[str, ...] = ()  # the same, where no server is named
    server: str = ""  # the variable that names one


ADAPTERS = {
    "wandb": Adapter("bench.trackers.to_wandb:ToWandb", "wandb", ("wandb",)),
    # A small MLflow without what writes to a file serves those who have a server.
    "mlflow": Adapter(
        "bench.trackers.to_mlflow:ToMlflow", "mlflow", ("mlflow",), ("sqlalchemy", "alembic"), "MLFLOW_TRACKING_URI"
    ),
    "trackio": Adapter("bench.trackers.to_trackio:ToTrackio", "trackio", ("trackio",)),
    "aim": Adapter("bench.trackers.to_aim:ToAim", "aim", ("aim",)),
    "swanlab": Adapter("bench.trackers.to_swanlab:ToSwanlab", "swanlab", ("swanlab",)),
}
CHOICES = (TENSORBOARD, *ADAPTERS, NONE)


def choose(trackers: Sequence[str], project: str | None, environ: MutableMapping[str, str]) -> None:
    """Note in the environment what a command line asks for; [] and None leave it as it is. Raises as `check` does."""
    asked = {VARIABLE: ",".join(trackers)} if trackers else {}
    asked |= {PROJECT: project} if project is not None else {}
    check({**environ, **asked})
    environ.update(asked)


def chosen(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the trackers that an environment asks for, TensorBoard by default. Raises BadInput for an unknown one."""
    words = (os.environ if environ is None else environ).get(VARIABLE, "").replace(",", " ").split()
    for word in words:
        if word not in CHOICES and not re.fullmatch(r"[\w.]+:\w+", word):
            raise BadInput(f"Unknown tracker {word!r} in {VARIABLE} or --tracker{nearest_or_all(word, CHOICES)}")
    if NONE in words and len(set(words)) > 1:
        raise BadInput(f"--tracker {NONE} is for no tracker at all; leave it out, or the others.")
    return tuple(dict.fromkeys(word for word in words or [TENSORBOARD] if word != NONE))


def project_of(environ: Mapping[str, str] | None = None) -> str:
    """Return the project that runs belong to."""
    return (os.environ if environ is None else environ).get(PROJECT) or DEFAULT_PROJECT


def check(environ: Mapping[str, str]) -> None:
    """Raise BadInput for a tracker that is unknown, or not installed."""
    for word in chosen(environ):
        if word == TENSORBOARD:
            continue
        adapter = ADAPTERS.get(word) or Adapter(word, "", (word.partition(":")[0],))
        needed = adapter.modules + (() if environ.get(adapter.server) else adapter.local)
        missing = [module for module in needed if not _is_there(module)]
        if missing:
            remedy = f"pip install {adapter.package}" if adapter.package else f"put {missing[0]} where Python finds it"
            more = "" if missing[0] == adapter.modules[0] else f" with {missing[0]}, which a local store needs"
            raise BadInput(f"The tracker {word} is not installed{more}; {remedy}, or leave out --tracker {word}.")


def adapter_of(word: str) -> str:
    """Return module:Class of what serves a tracker."""
    return ADAPTERS[word].target if word in ADAPTERS else word


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # of a package that holds it
        return False
