"""When two stages take equally long: settings that decide how much work there is, and on which data.

Numbers with a decimal point (learning rates, temperatures, crop scales) decide results, and not how long a step takes.
So a sweep of them is timed once, and a record of one value speaks for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.config.recipe import Recipe
from bench.config.tasks import KINDS, Task
from bench.data.sets import short_name
from bench.errors import BadInput
from bench.execute.machine import Machine
from bench.plan import Stage, digest
from bench.record import Record

NAMES = frozenset({"name", "summary", "source", "profile"})
UPSTREAM = ("pretrain", "convert")


def key_of(stage: Stage, machine: Machine) -> str:
    """Return what stages share that take equally long on a machine."""
    task = stage.config if isinstance(stage.config, Task) else None
    data = {short_name(name): value for name, value in stage.data.items()}
    return _key(stage.kind, stage.recipe, task, data, machine.precisions(stage.config))


def keys_of(record: Record) -> dict[str, str]:
    """Return {kind of stage: key} of the stages whose time a record has; {} for a record of a kind that is not ours."""
    if record.kind not in KINDS:
        return {}
    common = {"name": "-", "summary": "-", "source": "", "profile": record.profile}
    try:
        recipe = Recipe.model_validate({**record.settings["pretrain"], **common})
        task = KINDS[record.kind].model_validate({**record.settings["downstream"], **common})
    except (ValidationError, BadInput, KeyError):  # of another version
        return {}
    keys = {}
    for kind in (*UPSTREAM, record.kind):
        config = task if kind == record.kind else recipe
        data = {} if kind == "convert" else {name: record.data.get(name, "") for name in [short_name(config.dataset)]}
        data = {name: value for name, value in data.items() if name != "none"}
        precisions = _recorded(record, config, kind)
        keys[kind] = _key(kind, recipe, task if kind == record.kind else None, data, precisions)
    return keys


def loose_key(stage: Stage, machine: Machine) -> str:
    """Return what pretrainings share that differ in the objective alone; "" for other stages."""
    recipe = stage.recipe.model_copy(update={"objective": {"name": ""}})
    data = {short_name(name): value for name, value in stage.data.items()}
    return _key(stage.kind, recipe, None, data, machine.precisions(recipe)) if stage.kind == "pretrain" else ""


def _recorded(record: Record, config: BaseModel, kind: str) -> dict[str, str]:
    """The precisions that a recorded stage computed in."""
    auto = record.precision.get(kind, "unknown")
    return Machine("", 0, auto=auto).precisions(config)  # type: ignore[arg-type]


def _key(kind: str, recipe: Recipe, task: Task | None, data: Mapping[str, str], precisions: Mapping[str, str]) -> str:
    network = {"arch": recipe.arch, "stem": recipe.stem}
    if kind == "convert":
        return digest([kind, network])
    settings = _work(_settings(recipe if task is None else task))
    objective = recipe.objective["name"] if task is not None and task.reads_training_state else None
    return digest([kind, network, settings, objective, dict(data), dict(precisions)])


def _settings(config: BaseModel) -> dict[str, Any]:
    values = config.model_dump(mode="json", exclude=set(NAMES))
    left = {"precision", "evaluation_precision", "search", "schedule", "log_every", "init", "dataset"}
    left |= {"zero_init_residual", "export"}
    values = {name: value for name, value in values.items() if name not in left}
    if isinstance(config, Recipe) and config.optimizer is not None:
        values["optimizer"] = config.optimizer.name
    if isinstance(config, Recipe):  # not kept by records: a machine's choices are as they are now
        values = {name: value for name, value in values.items() if name not in ("workers", "checkpoint", "diagnostics")}
    return {name: value for name, value in values.items() if name not in ("workers", "pack", "reuse_features")}


def _work(value: Any) -> Any:
    """Leave out numbers with a decimal point; of a list of them keep how many there are."""
    if isinstance(value, Mapping):
        return {key: _work(one) for key, one in value.items() if not isinstance(one, float)}
    if isinstance(value, list | tuple):
        return len(value) if any(isinstance(one, float) for one in value) else [_work(one) for one in value]
    return value
