"""From the words of a command line to a planned grid: configs, data, stages, and which of them are to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.data.layouts import fingerprint
from bench.data.roots import Roots, resolve_roots
from bench.errors import BadInput
from bench.execute.packs import Packs
from bench.execute.stage_file import make_folder, read_done
from bench.plan import Planner, Stage, State, states
from bench.recipe import Profile, Recipe, load_recipe, load_tasks, parse_assignments, route


@dataclass(frozen=True)
class Request:
    """What a person asked for, as the command line has it."""

    pretrain: Sequence[str]
    downstream: Sequence[str]
    seeds: Sequence[int] = (0,)
    profile: Profile = "full"
    smoke: bool = False
    assignments: Sequence[str] = ()
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
    recipes = [load_recipe(name, profile, for_pretrain) for name in dict.fromkeys(request.pretrain)]
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
    known: dict[str, str] = {}
    packs = Packs(found, known)
    planner = Planner(
        lambda dataset: known[dataset] if dataset in known else known.setdefault(dataset, data_fingerprint(dataset)),
        # A parent that is itself asked for is that same recipe; --set does not reach one that is only implied.
        lambda name: by_name[name] if name in by_name else by_name.setdefault(name, load_recipe(name, profile)),
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
            lambda stage: read_done(request.work_dir / stage.folder, stage.fingerprint) is not None,
        ),
        roots=found,
        problems=problems,
        work_dir=request.work_dir,
        results_dir=request.results,
        notes=packs.notes,
    )
    if act:
        for stage in grid.to_do():
            for dataset in stage.data:
                if dataset in problems:
                    raise problems[dataset]
    return grid


def _roots(request: Request, act: bool) -> Roots:
    """Where the data lie; a smoke run without data roots of its own renders scenes into the work folder."""
    words = list(request.data_root)
    if request.smoke and not words:
        rendered = request.work_dir / "rendered"
        if act:
            from bench.data.render import render

            render(rendered)
        words = [str(rendered)]
    return resolve_roots(words)
