"""From the words of a command line to a planned grid: configs, data, stages, and which of them are to do."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

from bench.config.load import load_recipe, load_tasks, nest, overlay, parse_assignments, route, schema_keys
from bench.config.recipe import Profile, Recipe
from bench.data.roots import Roots, resolve_roots
from bench.data.sets import check_pretraining, fingerprint
from bench.errors import BadInput
from bench.execute.pack_choice import Packs
from bench.execute.stage_file import make_folder, read_done
from bench.plan import Planner, Stage, State, states


@dataclass(frozen=True)
class Request:
    """What a person asked for, as the command line has it."""

    pretrain: Sequence[str]
    downstream: Sequence[str]
    seeds: Sequence[int] = (0,)
    profile: Profile = "full"
    smoke: bool = False
    assignments: Sequence[str] = ()
    sweep: Sequence[str] = ()  # "key=value,value": each pretraining once for every combination
    data_root: Sequence[str] = ()
    work_dir: Path = Path("runs")
    results_dir: Path | None = None
    unreadable: Literal["fail", "skip"] = "fail"

    @property
    def results(self) -> Path:
        """Smoke runs keep their records apart: rendered scenes have no place in a result table."""
        return self.results_dir or (self.work_dir / "smoke" / "results" if self.smoke else Path("results"))


@dataclass(frozen=True)
class Grid:
    """The stages of a request, parents first, with the state of each."""

    stages: list[Stage]
    states: dict[str, State]
    roots: dict[str, str]  # data set -> folder, for those found
    problems: dict[str, BadInput]  # data set -> why it was not found
    work_dir: Path
    results_dir: Path
    notes: list[str] = field(default_factory=list)  # on packs that lie there and are not used

    def to_do(self) -> list[Stage]:
        """The stages that must run, in order."""
        return [stage for stage in self.stages if self.states[stage.fingerprint] == "to do"]


def plan_grid(request: Request, *, act: bool) -> Grid:
    """Plan a request. With `act`, scenes are rendered for a smoke run and missing data is an error.

    Raises BadInput for whatever is wrong with the request, before anything runs.
    """
    if not request.pretrain:
        raise BadInput("Nothing to run: give --pretrain NAME; bench list shows the names.")
    if min(request.seeds, default=0) < 0:
        raise BadInput("A seed must be 0 or more; mend --seeds.")
    profile: Profile = "smoke" if request.smoke else request.profile
    for_pretrain, for_downstream = route(parse_assignments(request.assignments))
    cells = combinations(request.sweep)
    _refuse_both(cells, for_pretrain)
    recipes = [
        in_cell(name, profile, _concerning(name, profile, for_pretrain, alone=len(request.pretrain) == 1), cell)
        for name in dict.fromkeys(request.pretrain)
        for cell in cells
    ]
    tasks = load_tasks(list(dict.fromkeys(request.downstream)), profile, for_downstream)

    if act:
        make_folder(request.work_dir, "--work-dir")
        if tasks:
            make_folder(request.results / "records", "--results-dir")
    roots = _roots(request, act)
    found: dict[str, str] = {}
    problems: dict[str, BadInput] = {}

    def data_fingerprint(dataset: str) -> str:
        if dataset in problems:
            return f"missing {dataset}"
        try:
            root = roots.find(dataset)
            value = fingerprint(dataset, root, request.work_dir / "data.json" if act else None)
        except BadInput as problem:
            problems[dataset] = problem
            return f"missing {dataset}"
        found[dataset] = str(root.absolute())
        return value

    by_name: dict[str, Recipe] = {recipe.name: recipe for recipe in recipes}

    def parent(name: str) -> Recipe:
        """A parent that is itself asked for is that same recipe; --set reaches no other, --sweep no parent at all."""
        if name not in by_name:
            by_name[name] = load_recipe(name, profile, for_pretrain if name in request.pretrain else None)
        return by_name[name]

    known: dict[str, str] = {}
    packs = Packs(found, known)
    planner = Planner(
        lambda dataset: known[dataset] if dataset in known else known.setdefault(dataset, data_fingerprint(dataset)),
        parent,
        profile,
        packs,
    )
    stages = planner.grid(recipes, tasks, list(dict.fromkeys(request.seeds)))
    records = request.results / "records"
    grid = Grid(
        stages=stages,
        states=states(
            stages,
            lambda stage: (records / stage.record_name).is_file(),
            lambda stage: read_done(request.work_dir / stage.folder, stage.fingerprint, stage.outputs) is not None,
        ),
        roots=found,
        problems=problems,
        work_dir=request.work_dir,
        results_dir=request.results,
        notes=packs.notes,
    )
    for stage in grid.to_do():
        for dataset in stage.data if stage.kind == "pretrain" else ():
            try:
                if dataset in found:
                    check_pretraining(dataset, Path(found[dataset]))
            except BadInput as problem:
                problems[dataset] = problem
    if act:
        for stage in grid.to_do():
            for dataset in stage.data:
                if dataset in problems:
                    raise problems[dataset]
    return grid


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
        for_pretrain, for_downstream = route({f"pretrain.{key}" if _both_have(key) else key: None})
        if for_downstream or not for_pretrain:
            raise BadInput(f"--sweep {key} is a downstream key, and only pretrainings are swept; use --set.")
        axes[key] = _values(key, text)
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _both_have(key: str) -> bool:
    """Whether a key that pretrainings have is a downstream config's, too; here it is the pretraining's."""
    return key.partition(".")[0] in schema_keys(Recipe)


def _values(key: str, text: str) -> list[Any]:
    """The values of one axis: Python literals, or words between commas."""
    try:
        found = list(ast.literal_eval(f"[{text}]"))
    except (ValueError, SyntaxError):
        found = [parse_assignments([f"{key}={part}"])[key] for part in text.split(",")]
    if "" in found:
        raise BadInput(f"--sweep {key} has an empty value in {text!r}; take one comma away.")
    if len({repr(value) for value in found}) < len(found):
        raise BadInput(f"--sweep {key} has a value twice in {text!r}; take one away.")
    return found


def _concerning(name: str, profile: Profile, assigned: dict[str, Any], *, alone: bool) -> dict[str, Any]:
    """Return the --set values that concern a recipe: of one that trains nothing, beside others that do, the network's.

    Otherwise `random_init` could not be a control in a grid whose schedule is set for all the others.
    """
    if alone or not assigned or load_recipe(name, profile).epochs > 0:
        return assigned
    return {key: value for key, value in assigned.items() if key in {"arch", "stem"}}


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
    ends = Counter(key.rpartition(".")[2] for key in cell)
    words = []
    for key, value in cell.items():
        end = key.rpartition(".")[2]
        text = value if isinstance(value, str) else repr(value)
        if not re.fullmatch(r"[^\s/\\][^/\\]*", text):
            raise BadInput(f"--sweep {key}={text} cannot be part of a name, which is a file's; use --set.")
        words.append(f"{end if ends[end] == 1 else key}={text.replace(' ', '')}")
    return recipe.model_copy(update={"name": f"{recipe.name}[{','.join(words)}]"})


def _roots(request: Request, act: bool) -> Roots:
    """Where the data lie; a smoke run without data roots of its own renders scenes into the work folder."""
    words = list(request.data_root)
    if request.smoke and not words:
        rendered = request.work_dir / "rendered"
        if act:
            from bench.synthetic.render import render

            render(rendered)
        words = [str(rendered)]
    return resolve_roots(words)
