"""What a fingerprint hashes of a config, and what a record keeps of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from bench.config.kind_facts import asking
from bench.config.no_effect import as_hashed
from bench.config.objective_settings import portable, without_later
from bench.config.objective_source import definition_of
from bench.config.recipe import LATER, Recipe
from bench.config.tasks import Task, portable_kind
from bench.data.sets import short_name

Hashed = Callable[[Recipe | Task], dict[str, Any]]

# Raised when a back end makes other pixels: what uses it is computed anew. The other back ends never changed.
VIEW_VERSIONS = {"fast": 2}

# Keys that say how a machine runs the job and cannot change its result: no fingerprint has them. (`pack` can change it
# only by the pack that is then read, and that is in the fingerprint of the data.)
MACHINE_KEYS = frozenset(
    {
        *("workers", "log_every", "checkpoint", "checkpoint_activations", "lars", "diagnostics"),
        *("pack", "compile_trunk", "reuse_features"),
    }
)
# What `follow_depth` chooses, an mmseg config and its iterations, is in the fingerprint in place of the task's own.
NOT_IN_FINGERPRINT = MACHINE_KEYS | {"name", "summary", "source", "profile", "follow_depth"}


def digest(value: Any) -> str:
    """Return the sha256 (hex) of a JSON-able value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def recorded_settings(config: Recipe | Task) -> dict[str, Any]:
    """Return the part of a config that decides its result, as a record has it: plain JSON-able values."""
    values = {k: v for k, v in config.model_dump(mode="json").items() if k not in NOT_IN_FINGERPRINT}
    values["dataset"] = short_name(config.dataset)
    if isinstance(config, Task):
        return values | portable_kind(config.kind)
    return values | {"objective": portable(config.objective)}


def hashed_settings(config: Recipe | Task) -> dict[str, Any]:
    """Return what a fingerprint hashes of `recorded_settings`: what decides the result.

    What decides none has a stand-in (bench/config/no_effect.py). A switch that came later counts only where it is
    used: its default means what was done before it existed, so that results from then stay valid. The definition of
    an objective counts from the second on.
    """
    return hashed_as_set(as_hashed(config))


def hashed_as_set(config: Recipe | Task) -> dict[str, Any]:
    """Return `hashed_settings` as earlier versions had them, in which settings that decide no result counted, too."""
    values = _without_later(config, recorded_settings(config))
    if isinstance(config, Recipe) and (definition := definition_of(str(config.objective["name"]))) > 1:
        values["objective"]["class definition"] = definition  # the space: no setting has this name
    if values.get("view_backend") in VIEW_VERSIONS:
        values["view_backend"] = [values["view_backend"], VIEW_VERSIONS[values["view_backend"]]]
    return values


def _without_later(config: BaseModel, values: dict[str, Any]) -> dict[str, Any]:
    """`values` of a config without those that were added later (`LATER`) and are at their defaults."""
    kept = {}
    for name, value in values.items():
        field, setting = type(config).model_fields.get(name), getattr(config, name, None)
        if field is not None and field.json_schema_extra == LATER and setting == field.default:
            continue
        kept[name] = _without_later(setting, value) if isinstance(setting, BaseModel) else value
    if isinstance(config, Recipe):
        kept["objective"] = without_later(kept["objective"])
    return kept


def protocol_hash(task: Task, hashed: Hashed = hashed_settings, version: int | None = None) -> str:
    """Return 12 hex digits that two results share if, and only if, they were measured the same way.

    `version` is that of the kind's code, by default today's.
    """
    version = task.version if version is None else version
    return digest([portable_kind(task.kind)["kind"], version, measured(task, hashed)])[:12]


def measured(task: Task, hashed: Hashed = hashed_settings) -> dict[str, Any]:
    """Return what a fingerprint hashes of a task: its settings, and files that they name by content."""
    with asking(type(task), "file_contents"):
        return hashed(task) | {key: digest(content) for key, content in task.file_contents().items()}
