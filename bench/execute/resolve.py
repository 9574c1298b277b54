"""From a request to the configs that it means: files, a profile, `--set` and `--sweep` become recipes and tasks."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

from bench.config.load import (
    load_recipe,
    load_tasks,
    nest,
    overlay,
    parse_assignments,
    recipe_values,
    route,
    schema_keys,
    task_classes,
    with_search,
)
from bench.config.recipe import Profile, Recipe
from bench.config.tasks import Task
from bench.errors import BadInput
from bench.execute.request import Request


class Resolved(NamedTuple):
    """The configs of a request."""

    recipes: list[Recipe]
    tasks: list[Task]
    by_name: dict[str, Recipe]  # the recipes, and those that an `init` names


def resolve(request: Request) -> Resolved:
    """Return the recipes and tasks of a request, each once.

    Raises BadInput for whatever is wrong with the request or its configs.
    """
    if not request.pretrain:
        raise BadInput("Nothing to run: give --pretrain NAME; bench list shows the names.")
    if min(request.seeds, default=0) < 0:
        raise BadInput("A seed must be 0 or more; correct --seeds.")
    profile: Profile = "smoke" if request.smoke else request.profile
    names, task_names = dict.fromkeys(request.pretrain), dict.fromkeys(request.downstream)
    assigned = parse_assignments(request.assignments)
    upstream, downstream = route(assigned, task_classes(task_names, profile))
    cells = combinations(request.sweep)
    _refuse_both(cells, upstream)
    recipes = []
    for name in names:
        values = upstream
        if len(request.pretrain) > 1 and upstream and recipe_values(name, profile).get("epochs") == 0:
            # One that trains nothing, beside others that do, takes the network's settings and the precision alone.
            # Otherwise `random_init` could not be a control in a grid whose schedule is set for all the others.
            values = {key: value for key, value in upstream.items() if key in {"arch", "stem", "precision"}}
        recipes += [in_cell(name, profile, values, cell) for cell in cells]
    tasks = [with_search(task, assigned) for task in load_tasks(task_names, profile, downstream)]

    def parent(name: str) -> Recipe:
        """A parent that is itself asked for is that same recipe; --set reaches no other, --sweep no parent at all."""
        return load_recipe(name, profile, upstream if name in names else None)

    return Resolved(recipes, tasks, with_parents(recipes, parent))


def with_parents(recipes: Sequence[Recipe], load: Callable[[str], Recipe]) -> dict[str, Recipe]:
    """Return recipes by name, with those that their `init` names, and that these name, loaded by `load(name)`."""
    by_name = {recipe.name: recipe for recipe in recipes}
    waiting = list(recipes)
    while waiting:
        init = waiting.pop().init
        if init is not None and init.recipe is not None and init.recipe not in by_name:
            by_name[init.recipe] = load(init.recipe)
            waiting.append(by_name[init.recipe])
    return by_name


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
    recipe = load_recipe(name, profile, overlay(extra, nest(cell)))
    if not cell:
        return recipe
    # The word `none`, where that is the value of a setting of the objective.
    words_of = {f"objective.{key}": value for key, value in recipe.objective.items() if value == "none"}
    cell = {key: words_of.get(key, value) if value is None else value for key, value in cell.items()}
    ends = Counter(key.rpartition(".")[2] for key in cell)
    words = []
    for key, value in cell.items():
        end = key.rpartition(".")[2]
        text = value if isinstance(value, str) else repr(value)
        if not re.fullmatch(r"[^\s/\\][^/\\]*", text):
            raise BadInput(f"--sweep {key}={text} cannot be part of a name, which is a file's; use --set.")
        words.append(f"{end if ends[end] == 1 else key}={text.replace(' ', '')}")
    return recipe.model_copy(update={"name": f"{recipe.name}[{','.join(words)}]"})
