"""Settings that decide no result, or none beside the others that are chosen: no fingerprint and no protocol has them.

Each is hashed as one fixed value, whatever a config says: that of the shipped configs, so that their fingerprints are
what they were. A record keeps what was set all the same.

- What only says how the work is divided: `batch_size` and `search` of kNN, whose features and neighbours are those of
  one image at a time up to the rounding of a matrix product; `compile` and `cuda_graphs`, whose programs add up in
  another order. These count as what the number of threads or another processor does to a result.
- When something is looked at: `validate_every` of segmentation. The weights at the end are the same bits.
- What the chosen optimizer, schedule or vote never reads: `betas` without Adam, `milestones` without steps, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from bench.config.config_files import find_mmseg
from bench.config.mmseg_networks import validation_steers
from bench.config.recipe import OptimizerSettings, Recipe, ScheduleSettings
from bench.config.tasks import KINDS, KnnTask, LinearTask, Task
from bench.errors import BadInput

KNN_BATCHES = {"full": 256, "mini": 64, "smoke": 16}  # images at once, as shipped under each profile

# Who reads a setting: {setting: values of `name` under which it is read}.
OPTIMIZER = {
    "betas": ("adam", "adamw"),
    "momentum": ("sgd", "lars"),
    "nesterov": ("sgd", "lars"),
    "trust_coefficient": ("lars",),
}
SCHEDULE = {"milestones": ("step",), "gamma": ("step",), "final_ratio": ("cosine",)}

Settings = Mapping[str, Any]  # of a config, as `model_dump` or a record has them
Config = TypeVar("Config", bound=Recipe | Task)


def stand_ins(settings: Settings, kind: str | None, profile: str) -> dict[str, Any]:
    """Return {dotted setting: the value that is hashed in its place} of the settings that decide nothing here.

    Args:
        settings: of a recipe or a task; settings that it lacks are taken to be at their defaults.
        kind: of task, a key of KINDS; None for a recipe. Of any other kind nothing is known, and {} is returned.
        profile: that it was resolved for.
    """
    if kind is None:
        return _of_recipe(settings)
    return _OF_TASKS[kind](settings, profile) if kind in _OF_TASKS else {}


def _of_recipe(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {"compile": False, "cuda_graphs": False}
    for part, model, readers in (
        ("optimizer", OptimizerSettings, OPTIMIZER),
        ("schedule", ScheduleSettings, SCHEDULE),
    ):
        values = settings.get(part)
        if values is not None:
            name = values.get("name", model.model_fields["name"].default)
            unread = [key for key, names in readers.items() if name not in names]
            found |= {f"{part}.{key}": model.model_fields[key].default for key in unread}
    if settings.get("on_divergence", "stop") != "lower_lr":
        found |= {key: Recipe.model_fields[key].default for key in ("lower_lr_factor", "lower_lr_times")}
    return found


def _of_knn(settings: Settings, profile: str) -> dict[str, Any]:
    default = KnnTask.model_fields["precision"].default
    found = {"batch_size": KNN_BATCHES[profile], "search": settings.get("precision", default)}  # equal in all shipped
    if settings.get("vote") == "majority":
        found["temperature"] = KnnTask.model_fields["temperature"].default
    return found


def _of_linear(settings: Settings, _profile: str) -> dict[str, Any]:
    fields = LinearTask.model_fields
    found: dict[str, Any] = {}
    if settings.get("schedule", fields["schedule"].default) != "step":
        found["milestones"] = fields["milestones"].default
    if settings.get("optimizer", fields["optimizer"].default) != "sgd":
        found["momentum"] = fields["momentum"].default
    return found


def _of_segmentation(settings: Settings, _profile: str) -> dict[str, Any]:
    """Validation once, at the end, unless the mmseg config has something that looks at its scores."""
    usual = settings.get("iterations")
    if settings.get("validate_every") == usual:  # the file need not be looked at
        return {"validate_every": usual}
    try:
        steers = validation_steers(find_mmseg(settings["config"]), settings.get("overrides") or {})
    except (BadInput, KeyError):  # whatever is wrong with the config is said elsewhere
        return {}
    return {} if steers else {"validate_every": usual}


_OF_TASKS: dict[str, Callable[[Settings, str], dict[str, Any]]] = {
    "knn": _of_knn,
    "linear": _of_linear,
    "segmentation": _of_segmentation,
}


def kind_of(config: Recipe | Task) -> str | None:
    """Return the key of KINDS whose code measures a task, also one from outside that derives from ours and runs it.

    None for a recipe; "" for a task with code of its own.
    """
    if isinstance(config, Recipe):
        return None
    return next((name for name, kind in KINDS.items() if isinstance(config, kind) and config.run == kind.run), "")


def as_hashed(config: Config) -> Config:
    """Return the config with stand-ins for what decides no result."""
    return with_values(config, stand_ins(_top(config), kind_of(config), config.profile))


def effectless(config: Recipe | Task) -> dict[str, Any]:
    """Return {dotted setting: its value} of the settings of a config that decide no result."""
    values = _top(config)
    return {key: value_at(values, key) for key in stand_ins(values, kind_of(config), config.profile)}


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Return the config with other values at dotted settings; itself where it has them already."""
    changed: dict[str, Any] = {}
    for key, value in values.items():
        first, _, rest = key.partition(".")
        part = changed.get(first, getattr(config, first))
        new = part.model_copy(update={rest: value}) if rest else value
        if new != part:
            changed[first] = new
    return cast("Config", config.model_copy(update=changed)) if changed else config


def value_at(settings: Settings, key: str, default: Any = None) -> Any:
    """Return the value at a dotted setting; `default` where there is none."""
    node: Any = settings
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node


def default_at(config: Recipe | Task, key: str) -> Any:
    """Return the default of a dotted setting."""
    first, _, rest = key.partition(".")
    holder = getattr(config, first) if rest else config
    return type(holder).model_fields[rest or first].default


def _top(config: Recipe | Task) -> dict[str, Any]:
    """The settings as a record has them, without the cost of turning all of them into plain values."""
    return {
        name: value.model_dump() if isinstance(value, BaseModel) else value
        for name, value in ((name, getattr(config, name)) for name in type(config).model_fields)
    }
