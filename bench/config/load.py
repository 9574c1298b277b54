"""From a config's name to a `Recipe` or a `Task`: the file, a profile over it, and `--set` over both.

A *profile* (`full`, `mini`, `smoke`) is a named overlay in the file. Nothing edits a config after it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from bench.config.back_ends import check_view_backend
from bench.config.config_files import find, read, shipped
from bench.config.exported import check_export
from bench.config.objective_settings import check_arguments
from bench.config.processes import check_halving, check_norm_images
from bench.config.recipe import Profile, Recipe
from bench.config.remote_config import is_url
from bench.config.tasks import KINDS, KnnTask, Task, full_kind, task_class
from bench.errors import BadInput, nearest, nearest_or_all, shortened

ABOUT = frozenset({"name", "summary", "source", "profile"})  # what a config is known by, and cannot say itself
Model = TypeVar("Model", bound=BaseModel)


def overlay(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `extra` over it: dictionaries are merged (unless `_delete_`), all else is replaced."""
    merged = dict(base)
    for key, value in extra.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and not value.get("_delete_"):
            merged[key] = overlay(below, value)
        elif isinstance(value, Mapping):
            merged[key] = {k: v for k, v in value.items() if k != "_delete_"}
        else:
            merged[key] = value
    return merged


def nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"a": {"b": 1}} for {"a.b": 1}."""
    tree: dict[str, Any] = {}
    for key, value in dotted.items():
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise BadInput(f"--set {key}: {parent!r} is given both a value and keys below it.")
        node[last] = value
    return tree


BOTH = frozenset({"precision"})  # bare keys of --set that mean both sides of a grid


def route(
    assignments: Mapping[str, Any], kinds: Iterable[type[Task]] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split --set values into those for pretraining and those for downstream configs.

    `pretrain.key` and `downstream.key` say it; a bare key goes where the schema has it, which for one that pretrainings
    have is there alone if no task of this run has it. Where both have it, a bare `precision` goes to both, and another
    key must say it; a key that neither has is an error that names the nearest. `kinds` are those of this run's tasks;
    None: any of ours.
    """
    kinds = set(KINDS.values() if kinds is None else kinds)
    below = set().union(*(schema_keys(kind) for kind in {*KINDS.values(), *kinds}))
    schemas = {"pretrain": schema_keys(Recipe), "downstream": below}
    sides: dict[str, dict[str, Any]] = {"pretrain": {}, "downstream": {}}
    for key, value in assignments.items():
        head, _, rest = key.partition(".")
        if head in sides and rest:
            sides[head][rest] = value
            continue
        homes = [side for side, keys in schemas.items() if head in keys]
        if not homes:
            known = sorted(schemas["pretrain"] | schemas["downstream"])
            hint = nearest(head, known) or "; bench show NAME lists the keys."
            raise BadInput(f"Unknown key {shortened(key)} in --set{hint}")
        if len(homes) == 2 and not any(head in schema_keys(kind) for kind in kinds):
            homes.remove("downstream")
        if len(homes) == 2 and key not in BOTH:
            raise BadInput(f"--set {key} could mean either side: say pretrain.{key} or downstream.{key}.")
        for side in homes:
            sides[side][key] = value
    return nest(sides["pretrain"]), nest(sides["downstream"])


def with_search(task: Task, assignments: Mapping[str, Any]) -> Task:
    """Return a task whose search for neighbours, if it is automatic, has the precision that a bare `precision` set.

    One that --set names itself stays, and so does one that its config names.
    """
    bare = "precision" in assignments and not {"search", "downstream.search"} & assignments.keys()
    if bare and isinstance(task, KnnTask) and task.search == "auto":
        return task.model_copy(update={"search": task.precision})
    return task


def schema_keys(model: type[BaseModel]) -> set[str]:
    """Return the keys that a config file of this kind may set."""
    return set(model.model_fields) - ABOUT


def load_recipe(
    name: str,
    profile: Profile = "full",
    extra: Mapping[str, Any] | None = None,
    swept: Mapping[str, Any] | None = None,
    option: str = "--sweep",
) -> Recipe:
    """Load the pretraining config `name` (or path) under a profile, with `extra` values over it, and `swept` over both.

    Messages blame --set for what is wrong in `extra`, and `option` for what is wrong in `swept`.
    Raises BadInput for an unknown name, key, profile or a wrong type.
    """
    values = recipe_values(name, profile)
    laid_over = (("--set", extra or {}), (option, swept or {}))
    recipe = _validate(Recipe, values, *laid_over)
    given = {key: _giver(["objective", key], values, laid_over) for key in recipe.objective}
    objective = check_arguments(recipe.objective, Path(recipe.source), {k: v for k, v in given.items() if v})
    recipe = recipe.model_copy(update={"objective": objective})
    check_norm_images(recipe)
    check_halving(recipe)
    check_export(recipe)
    check_view_backend(recipe)
    return recipe


def recipe_values(name: str, profile: Profile) -> dict[str, Any]:
    """Return what the pretraining config `name` says under a profile, not validated. Raises BadInput."""
    return _values(find("pretrain_configs", name), profile)


def load_task(name: str, profile: Profile = "full", extra: Mapping[str, Any] | None = None) -> Task:
    """Load the downstream config `name`: one of ours, a path, or the name or path of an mmseg config."""
    _check_kind(extra or {})
    kind, values = _task_values(name, profile)
    return _validate(kind, values, ("--set", extra or {}))


def load_tasks(names: Iterable[str], profile: Profile = "full", extra: Mapping[str, Any] | None = None) -> list[Task]:
    """Load several downstream configs; a key of `extra` goes to each task whose kind has it.

    Raises BadInput for a key that none of them has, besides what `load_task` raises.
    """
    configs, extra = [_task_values(name, profile) for name in names], extra or {}
    _check_kind(extra)
    known = set().union(*(schema_keys(kind) for kind, _ in configs))
    for key in extra:
        if key not in known:
            hint = nearest(key, known) or "; bench show NAME lists the keys."
            raise BadInput(f"No downstream config of this run has the key {shortened(key)}{hint}")
    return [
        _validate(kind, values, ("--set", {key: value for key, value in extra.items() if key in schema_keys(kind)}))
        for kind, values in configs
    ]


def _check_kind(extra: Mapping[str, Any]) -> None:
    if "kind" in extra:
        raise BadInput("--set cannot change the kind of a task, as another has other settings; give another config.")


def task_classes(names: Iterable[str], profile: Profile) -> list[type[Task]]:
    """Return the kinds of several downstream configs. Raises BadInput."""
    return [_task_values(name, profile)[0] for name in names]


def _task_values(name: str, profile: Profile) -> tuple[type[Task], dict[str, Any]]:
    """The kind of a downstream config, and what it says under a profile."""
    file = find("downstream_configs", name)
    said, _ = read(file)
    if "kind" not in said:  # mmseg's
        if "model" not in said:
            known = ", ".join(KINDS)
            raise BadInput(
                f"{file} has neither a kind nor, as mmseg's configs have, a model; set kind to one of {known}."
            )
        dataset = str(said.get("dataset_type", "cityscapes")).removesuffix("Dataset").lower()
        config = str(file) if is_url(name) or Path(name).is_file() else file.stem
        about = {"name": file.stem, "summary": f"mmseg's {file.stem}", "source": str(file), "profile": profile}
        values = {"kind": "segmentation", "config": config, "dataset": dataset}
        return KINDS["segmentation"], overlay(_small_schedule(profile), about | values)
    values = _values(file, profile)
    try:
        values["kind"] = full_kind(str(values["kind"]), file.parent)
        return task_class(values["kind"]), values
    except BadInput as error:
        raise type(error)(f"{file}: {error}") from error


def _small_schedule(profile: Profile) -> dict[str, Any]:
    """What a profile lays over an mmseg config, which has none itself: that of our config of PSPNet on Cityscapes."""
    profiles = read(shipped("downstream_configs") / "cityscapes_pspnet.py")[0]["profiles"]
    return dict(profiles[profile]) if profile != "full" else {}


def _values(file: Path, profile: Profile) -> dict[str, Any]:
    values, docstring = read(file)
    profiles = values.pop("profiles", {})
    if not isinstance(profiles, Mapping) or not all(isinstance(one, Mapping) for one in profiles.values()):
        raise BadInput(f"profiles in {file} is {shortened(profiles)}; write profiles = dict(NAME=dict(KEY=VALUE)).")
    if profile != "full" and profile not in profiles:
        raise BadInput(f"{file} has no profile {profile!r}; it has {', '.join(['full', *profiles])}.")
    summary = docstring.strip().splitlines()[0] if docstring.strip() else ""
    about = {"name": file.stem, "summary": summary, "source": str(file), "profile": profile}
    return overlay(values, profiles.get(profile, {})) | about


Laid = tuple[str, Mapping[str, Any]]  # an option of the command line, and the values that it gives


def _validate(model: type[Model], values: Mapping[str, Any], *laid_over: Laid) -> Model:
    """The model of a config's values, with others over them but for what says which config it is."""
    merged: Mapping[str, Any] = values
    for _, extra in laid_over:
        merged = overlay(merged, extra)
    try:
        return model.model_validate({**merged, **{key: values[key] for key in ABOUT}})
    except ValidationError as error:
        raise BadInput(_sentence(error, model, values, laid_over)) from error


def _sentence(
    error: ValidationError, model: type[BaseModel], values: Mapping[str, Any], laid_over: Sequence[Laid]
) -> str:
    """Word pydantic's first complaint as one sentence with the remedy, which blames who gave the value."""
    first, file = error.errors()[0], values["source"]
    where = [str(part) for part in first["loc"]]
    key, giver = ".".join(where), _giver(where, values, laid_over) or file
    if first["type"] == "extra_forbidden":
        known = sorted(set().union(*map(schema_keys, _walk(model, where[:-1]))))
        return f"Unknown key {shortened(key)} in {giver}{nearest_or_all(where[-1], known)}"
    if first["type"] == "missing":
        return f"{file} lacks the key {key!r}; add it."
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ").replace(" after validation", "")
    if first["type"] == "value_error":  # of several keys together: of what is laid over it, unless the file has it, too
        options = [option for option, extra in laid_over if extra]
        if options and _is_valid(model, values):
            return f"{values['name']}, with the values of {' and '.join(options)}: {reason}."
        return f"{file}: {reason}."
    if first["type"] in {"arch", "data_set"}:  # its message is the choices alone
        reason = f"should be {reason}"
    return f"Key {shortened(key)} in {giver} is {shortened(first['input'])}, but {reason[0].lower()}{reason[1:]}."


def _is_valid(model: type[BaseModel], values: Mapping[str, Any]) -> bool:
    try:
        model.model_validate(values)
    except ValidationError:
        return False
    return True


def _giver(where: Sequence[str], values: Mapping[str, Any], laid_over: Sequence[Laid]) -> str | None:
    """The option that gave the value of a key, `--set for coco`; None where the file did."""
    for option, extra in reversed(laid_over):
        node: Any = extra
        for part in where:
            if not isinstance(node, Mapping) or part not in node:
                break
            node = node[part]
        else:
            return f"{option} for {values['name']}"
        if node is not extra and not isinstance(node, Mapping):  # an element of a value that was given whole
            return f"{option} for {values['name']}"
    return None


def _walk(model: type[BaseModel], where: Sequence[str]) -> Iterator[type[BaseModel]]:
    """The schemas that a schema has below these keys."""
    if not where:
        yield model
    elif where[0] in model.model_fields:
        annotation = model.model_fields[where[0]].annotation
        for kind in (annotation, *get_args(annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _walk(kind, where[1:])
