"""From a request to the configs that it means: files, a profile, `--set` and `--sweep` become recipes and tasks."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from bench.config.assignments import parse_assignments
from bench.config.load import (
    load_recipe,
    load_tasks,
    nest,
    overlay,
    recipe_values,
    route,
    schema_keys,
    task_classes,
    with_search,
)
from bench.config.recipe import Profile, Recipe
from bench.config.recipe_names import in_brackets
from bench.config.tasks import Task
from bench.errors import BadInput
from bench.execute.request import Request


class Resolved(NamedTuple):
    """The configs of a request."""

    recipes: list[Recipe]
    tasks: list[Task]
    by_name: dict[str, Recipe]  # the recipes, and those that an `init` names
    notes: tuple[str, ...] = ()  # on values of --set that a recipe gets, and the one that it starts from does not


NETWORK = frozenset({"arch", "stem"})  # what two recipes have in common of which one continues the other
MEASURED = frozenset({"dataset", "view_size", "augmentation"})  # what images are that a recipe measures its norms on
# What --set gives to a recipe that is only there for another to start from: its network, and how it is run.
FOLLOWED = NETWORK | {"workers", "checkpoint"}
PARENT = "parent."


def resolve(request: Request) -> Resolved:
    """Return the recipes and tasks of a request, each once.

    Raises BadInput for whatever is wrong with the request or its configs.
    """
    if not request.pretrain:
        raise BadInput("Nothing to run: give --pretrain NAME; bench list shows the names.")
    if min(request.seeds, default=0) < 0:
        raise BadInput("A seed must be 0 or more; correct --seeds.")
    if min(request.task_seeds, default=0) < 0:
        raise BadInput("A seed must be 0 or more; correct --task-seeds.")
    if request.task_seeds and not request.downstream:
        raise BadInput("--task-seeds are those of downstream tasks; give --downstream with it, or leave it out.")
    profile: Profile = "smoke" if request.smoke else request.profile
    names, task_names = dict.fromkeys(request.pretrain), dict.fromkeys(request.downstream)
    assigned = parse_assignments(request.assignments)
    for_parents = nest({key.removeprefix(PARENT): value for key, value in assigned.items() if key.startswith(PARENT)})
    own = {key: value for key, value in assigned.items() if not key.startswith(PARENT)}
    upstream, downstream = route(own, task_classes(task_names, profile))
    cells = combinations(request.sweep)
    _refuse_both(cells, upstream)
    epochs = {name: recipe_values(name, profile).get("epochs") for name in names}
    recipes, continued = [], False
    for name in names:
        values, own_cells = upstream, cells
        if epochs[name] == 0 and len(names) > 1:
            # One that trains nothing, beside others that do, takes the network's settings and the precision
            # alone, and where it measures its norms, which images these see. Otherwise `random_init` could not be a
            # control in a grid whose schedule is set, or swept, for all.
            reaching = NETWORK | {"precision"} | (MEASURED if _measures_norms(name, profile) else frozenset())
            values = {key: value for key, value in upstream.items() if key in reaching}
            if any(epochs.values()):
                own_cells = _unique([{key: cell[key] for key in cell if key in NETWORK} for cell in cells])
        for cell in own_cells:
            recipe = in_cell(name, profile, values, cell)
            if recipe.parent is not None:
                continued = True
                laid_over = overlay({key: cell[key] for key in cell if key in NETWORK}, for_parents)
                recipe = _with_parent_settings(recipe, laid_over)
            recipes.append(recipe)
    if for_parents and not continued:
        key = next(key for key in assigned if key.startswith(PARENT))
        raise BadInput(
            f"--set {key} is for the recipe that a pretraining starts from, and none of this run starts from another; "
            f"say pretrain.{key.removeprefix(PARENT)}, or leave it out."
        )
    tasks = [with_search(task, assigned) for task in load_tasks(task_names, profile, downstream)]

    def parent(name: str, settings: Mapping[str, Any] | None = None) -> Recipe:
        """One that is itself asked for is that same recipe; of --set any other gets FOLLOWED, of --sweep NETWORK."""
        reaching = upstream if name in names else {key: upstream[key] for key in upstream if key in FOLLOWED}
        if not settings:
            return load_recipe(name, profile, reaching)
        recipe = load_recipe(name, profile, reaching, settings, f"init.settings (--set {PARENT}KEY)")
        return recipe.model_copy(update={"name": recipe.name + in_brackets(settings)})

    by_name = with_parents(recipes, parent)
    set_here = {key.removeprefix("pretrain."): value for key, value in own.items() if not key.startswith("downstream.")}
    set_here = {key: value for key, value in set_here.items() if key.partition(".")[0] in upstream}
    notes = dict.fromkeys(note for recipe in recipes if (note := _unlike_parent(recipe, by_name, names, set_here)))
    return _keeping(Resolved(recipes, tasks, by_name, tuple(notes)))


def _unlike_parent(
    recipe: Recipe, by_name: Mapping[str, Recipe], asked_for: Iterable[str], set_here: Mapping[str, Any]
) -> str | None:
    """Say which values of --set a recipe gets, and the one that it starts from does not; None for none.

    One that is itself asked for gets them, too. None but settings of both that differ are named.
    """
    if recipe.init is None or recipe.parent is None:
        return None
    if recipe.parent.removesuffix(in_brackets(recipe.init.settings)) in asked_for:
        return None
    ours, theirs = recipe.model_dump(), by_name[recipe.parent].model_dump()
    keys = [key for key in set_here if _at(theirs, key) not in (None, _at(ours, key))]
    if not keys:
        return None
    one, parent = recipe.name.partition("[")[0], recipe.parent
    return (
        f"{parent}, from which {one} starts, does not get {', '.join(keys)} of --set; where it should, give "
        + " ".join(f"{PARENT}{key}={set_here[key]}" for key in keys)
        + ", too."
    )


def _at(values: Any, key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _measures_norms(name: str, profile: Profile) -> bool:
    return recipe_values(name, profile).get("norm_statistics") == "data"


def _unique(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [cell for number, cell in enumerate(cells) if cell not in cells[:number]]


def _with_parent_settings(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    """The recipe with values laid over those that its `init` has for its parent."""
    assert recipe.init is not None
    merged = overlay(recipe.init.settings, settings)
    return recipe.model_copy(update={"init": recipe.init.model_copy(update={"settings": merged})})


def with_parents(recipes: Sequence[Recipe], load: Callable[..., Recipe]) -> dict[str, Recipe]:
    """Return recipes by name, with those that their `init` names, and that these name.

    They are loaded by `load(name)`, or by `load(name, settings)` where `init.settings` are laid over one.
    """
    by_name = {recipe.name: recipe for recipe in recipes}
    waiting = list(recipes)
    while waiting:
        recipe = waiting.pop()
        if recipe.init is not None and recipe.parent is not None and recipe.parent not in by_name:
            settings = recipe.init.settings
            name = recipe.parent.removesuffix(in_brackets(settings))
            by_name[recipe.parent] = load(name, settings) if settings else load(name)
            waiting.append(by_name[recipe.parent])
    return by_name


def _keeping(configs: Resolved) -> Resolved:
    """The configs with what each parent must keep besides what it says: the epochs that others start from."""
    wanted: dict[str, set[int]] = {}
    for recipe in configs.by_name.values():
        if recipe.init is not None and recipe.parent is not None and recipe.init.epoch is not None:
            wanted.setdefault(recipe.parent, set()).add(recipe.init.epoch)
    kept: dict[int, Recipe] = {}
    for name, epochs in wanted.items():
        parent = configs.by_name[name]
        if missing := [each for each in sorted(epochs) if not parent.checkpoint.keeps(each, parent.epochs)]:
            keeping = parent.checkpoint.model_copy(update={"keep_epochs": (*parent.checkpoint.keep_epochs, *missing)})
            kept[id(parent)] = parent.model_copy(update={"checkpoint": keeping})
    return Resolved(
        [kept.get(id(recipe), recipe) for recipe in configs.recipes],
        configs.tasks,
        {name: kept.get(id(recipe), recipe) for name, recipe in configs.by_name.items()},
        configs.notes,
    )


def combinations(sweeps: Sequence[str]) -> list[dict[str, Any]]:
    """Return every combination of the values of `key=value,value` words, as {dotted key of a pretraining: value}.

    The first key varies slowest; no words have one combination, of nothing. Values are Python literals, else words; a
    key may say `pretrain.`.

    Raises BadInput for a word without values, a key that is given twice or is no pretraining's, and a repeated value.
    """
    axes: dict[str, list[Any]] = {}
    for word in sweeps:
        key, separator, text = word.partition("=")
        key = key.removeprefix("pretrain.")
        if not separator or not key or not text:
            raise BadInput(f"--sweep takes key=value,value,…, not {word!r}.")
        if key in axes:
            raise BadInput(f"--sweep gives {key} twice; put all its values into one.")
        ours = key.partition(".")[0] in schema_keys(Recipe)  # a downstream config's, too, perhaps
        for_pretrain, for_downstream = route({f"pretrain.{key}" if ours else key: None})
        if for_downstream or not for_pretrain:
            raise BadInput(f"--sweep {key} is a downstream key, and only pretrainings are swept; use --set.")
        axes[key] = _values(key, text)
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _values(key: str, text: str) -> list[Any]:
    """The values of one axis: Python literals, or words between commas."""
    try:
        values = list(ast.literal_eval(f"[{text}]"))
    except (ValueError, SyntaxError):
        values = [parse_assignments([f"{key}={part}"])[key] for part in text.split(",")]
    if "" in values:
        raise BadInput(f"--sweep {key} has an empty value in {text!r}; take one comma away.")
    if len({repr(value) for value in values}) < len(values):
        raise BadInput(f"--sweep {key} has a value twice in {text!r}; take one away.")
    return values


def _refuse_both(cells: Sequence[dict[str, Any]], assigned: dict[str, Any]) -> None:
    """Refuse a key that is both swept and set: one of them would silently lose."""
    for key in cells[0]:
        node: Any = assigned
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                break
            node = node[part]
        else:
            raise BadInput(f"{key} is given to --sweep and to --set; take one of them away.")


def in_cell(name: str, profile: Profile, extra: dict[str, Any], cell: dict[str, Any]) -> Recipe:
    """Return the recipe `name` with a combination of swept values over `extra`, and in its name.

    `imagenet_simclr[temperature=0.07]`: of a dotted key the last part, or all of it where two end alike.
    """
    recipe = load_recipe(name, profile, extra, nest(cell))
    # The word `none`, where that is the value of a setting of the objective.
    words = {f"objective.{key}": value for key, value in recipe.objective.items() if value == "none"}
    cell = {key: words.get(key, value) if value is None else value for key, value in cell.items()}
    return recipe.model_copy(update={"name": recipe.name + in_brackets(cell)}) if cell else recipe
