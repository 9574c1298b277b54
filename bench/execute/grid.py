"""From a request to a planned grid: its configs, the data that they read, the stages, and which are to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.config.recipe import Recipe, epoch_file
from bench.data.roots import Roots, resolve_roots
from bench.data.sets import check_distinct, check_pretraining, identity
from bench.data.sets.coco import check_objects
from bench.data.sets.manifests import ChangedFiles
from bench.errors import BadInput
from bench.execute.devices import check_processes
from bench.execute.earlier import Earlier, planner_of
from bench.execute.packs_in_use import Packs
from bench.execute.request import Request
from bench.execute.resolve import Resolved, resolve
from bench.execute.room import check_room
from bench.execute.stage_file import make_folder, read_done
from bench.execute.stage_outputs import restored_outcomes
from bench.execute.stale import StaleChoice, Staleness, dealt_with, staleness_of
from bench.plan import Planner, Stage

OBJECTS = "objects"  # what a pretraining reads besides images: COCO's annotations
RENDERED_LATER = "a smoke run renders its scenes when it starts; the ends of the folders' names then are others"
State = Literal["recorded", "done", "to do", "not needed"]


@dataclass(frozen=True)
class Grid:
    """The stages of a request, parents first, with the state of each."""

    stages: list[Stage]
    states: dict[str, State]
    roots: dict[str, str]  # data set -> folder, for those that are there
    problems: dict[str, BadInput]  # data set, or OBJECTS -> why it cannot be read
    work_dir: Path
    results_dir: Path
    # on files that changed, on packs that lie there and are not used, on seeds that decide nothing, on what is rendered
    notes: list[str] = field(default_factory=list)
    to_render: frozenset[str] = frozenset()  # data sets that a smoke run makes when it starts
    code: Staleness = field(default_factory=Staleness)

    def to_do(self) -> list[Stage]:
        """The stages that must run, in order."""
        return [stage for stage in self.stages if self.states[stage.fingerprint] == "to do"]

    def lines(self, gpus: int) -> list[str]:
        """Return the plan for people: what each stage needs and produces, its command, and what is missing."""
        lines: list[str] = []
        for stage in self.stages:
            needs = [f"{role}: {parent.title}" for role, parent in stage.parents.items()]
            needs += [f"data: {name}" + self._absent(name) + _packed(stage, name) for name in stage.data]
            made = str(self.work_dir / stage.folder)
            if stage.is_task:
                made = str(self.results_dir / "records" / stage.record_name)
            elif stage.outputs:
                made += "/" + (stage.outputs[0] if len(stage.outputs) == 1 else "{" + ",".join(stage.outputs) + "}")
            lines += [
                f"{self.shown(stage):<10} {stage.title}",
                *(f"           because   {why}" for why in self.code.reasons(stage)),
                f"           needs     {'; '.join(needs) or 'nothing'}",
                f"           produces  {made}",
                f"           command   {stage.command(self.work_dir, gpus)}",
            ]
        counts = Counter(map(self.shown, self.stages))
        lines.append(f"{len(self.stages)} stages: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
        lines += self.code.notes()
        lines += [f"{_what(problem)}: {problem}" for problem in self.problems.values()]
        return lines + [f"note: {note}" for note in self.notes]

    def shown(self, stage: Stage) -> str:
        """Return the state of a stage in a plan: `stale` where other code than that of now began or made it."""
        return "stale" if stage.fingerprint in self.code.stale else self.states[stage.fingerprint]

    def _absent(self, name: str) -> str:
        """What is said of a data set that is not there."""
        if name in self.to_render:
            return " (rendered when it starts)"
        return f" ({_what(self.problems[name])})" if name in self.problems else ""


def _what(problem: BadInput) -> str:
    """What is wrong with data, in a word."""
    return "changed" if isinstance(problem, ChangedFiles) else "missing"


def _packed(stage: Stage, dataset: str) -> str:
    """Say which packs of a data set a stage reads."""
    words = {use.purpose: use.words for use in stage.packs if use.dataset == dataset}
    heads = {"training": "packed", "evaluation": "evaluated from a pack"}
    return f" ({'; '.join(f'{heads[purpose]}: {form}' for purpose, form in words.items())})" if words else ""


def plan_grid(request: Request, *, act: bool, gpus: int = 1, stale: StaleChoice = "refuse") -> Grid:
    """Plan a request. With `act`, scenes are rendered for a smoke run, missing data is an error, and `stale` is done.

    `gpus` are those of one stage, among which a pretraining's batch is shared.

    Raises BadInput for whatever is wrong with the request, before anything runs.
    """
    configs = resolve(request)
    records = request.results / "records"
    if act:
        make_folder(request.work_dir, "--work-dir")
        if configs.tasks:
            make_folder(records, "--results-dir")
    names = _data_sets(configs)
    check_distinct(names)
    data = find_data(names, _roots(request, act), request.work_dir / "data.json", keep=act)
    packs = Packs(data.roots, data.fingerprints)
    to_render = _to_render(request, data) if not act else frozenset()
    planner = Planner(data.fingerprints.__getitem__, configs.by_name, packs)
    seeds, task_seeds = (list(dict.fromkeys(some)) for some in (request.seeds, request.task_seeds))
    stages = planner.grid(configs.recipes, configs.tasks, seeds, task_seeds)
    earlier = Earlier(request.work_dir, records, planner_of(planner), configs.by_name)
    stages = earlier.found(stages)
    found, code = _states(stages, request.work_dir, records)
    if act and dealt_with(stages, code, stale, request.work_dir, records):
        found, code = _states(stages, request.work_dir, records)
    restored = restored_outcomes(stages, found, request.work_dir, records) if act else []
    grid = Grid(
        stages=stages,
        states=found,
        code=code,
        roots=data.roots,
        problems=data.problems,
        work_dir=request.work_dir,
        results_dir=request.results,
        notes=[*configs.notes, *data.notes]
        + packs.notes
        + planner.notes
        + earlier.notes
        + restored
        + ([RENDERED_LATER] if to_render else []),
        to_render=to_render,
    )
    check_processes(grid.to_do(), gpus)
    _check_starts(grid)
    _check_data(grid, act)
    try:
        check_room(grid.to_do(), grid.work_dir)
    except BadInput as problem:
        if act:
            raise
        grid.notes.append(str(problem))
    return grid


def _states(stages: list[Stage], work_dir: Path, records: Path) -> tuple[dict[str, State], Staleness]:
    found = states(
        stages,
        lambda stage: (records / stage.record_name).is_file(),
        lambda stage: read_done(work_dir / stage.folder, stage.known_as, stage.outputs) is not None,
    )
    return found, staleness_of(stages, found, work_dir, records)


def states(
    stages: Iterable[Stage], recorded: Callable[[Stage], bool], done: Callable[[Stage], bool]
) -> dict[str, State]:
    """Return {fingerprint: state}. A stage is needed only by a child that is still to do.

    `recorded(stage)` says whether a task's record exists, `done(stage)` whether a stage's files do.
    """
    ordered = list(stages)
    has_children = {parent.fingerprint for stage in ordered for parent in stage.parents.values()}
    wanted: set[str] = set()
    result: dict[str, State] = {}
    for stage in reversed(ordered):
        if stage.is_task and recorded(stage):
            result[stage.fingerprint] = "recorded"
        elif not stage.is_task and done(stage):
            result[stage.fingerprint] = "done"
        elif stage.fingerprint in wanted or stage.fingerprint not in has_children:
            result[stage.fingerprint] = "to do"
            wanted |= {parent.fingerprint for parent in stage.parents.values()}
        else:
            result[stage.fingerprint] = "not needed"
    return {stage.fingerprint: result[stage.fingerprint] for stage in ordered}


@dataclass(frozen=True)
class Data:
    """Data sets by name: where they lie, what they are, and what is wrong with them."""

    roots: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)  # "missing NAME" where there is none
    problems: dict[str, BadInput] = field(default_factory=dict)  # why there is none
    notes: list[str] = field(default_factory=list)  # on files that changed


def find_data(names: Iterable[str], roots: Roots, cache: Path | None, *, keep: bool = True) -> Data:
    """Look up data sets and return where they lie and what they are; with `keep`, fingerprints are kept in `cache`."""
    data = Data()
    for name in names:
        try:
            root = roots.find(name)
            found = identity(name, root, cache, keep=keep)
            data.fingerprints[name] = found.fingerprint
            data.notes.extend(found.notes)
            data.roots[name] = str(root.absolute())
        except BadInput as problem:
            data.problems[name] = problem
            data.fingerprints[name] = f"missing {name}"
    return data


def _data_sets(configs: Resolved) -> list[str]:
    """The data sets that a grid reads, each once, in the order of its stages."""

    def lineage(recipe: Recipe) -> list[str]:
        names: dict[str, str] = {}  # recipe -> data set; a circle of inits ends here, and is refused while planning
        while recipe.name not in names:
            names[recipe.name] = recipe.dataset
            if recipe.parent is not None:
                recipe = configs.by_name[recipe.parent]
        return list(names.values())

    first, *others = map(lineage, configs.recipes)
    names = [*first, *(task.dataset for task in configs.tasks), *(name for each in others for name in each)]
    return [name for name in dict.fromkeys(names) if name != "none"]


def _check_starts(grid: Grid) -> None:
    """Refuse a pretraining whose parent is trained and did not keep the checkpoint to start from."""
    for stage in grid.to_do():
        parent, init = stage.parents.get("init"), stage.recipe.init
        if stage.kind != "pretrain" or parent is None or init is None or init.epoch is None:
            continue
        folder = grid.work_dir / parent.folder
        if grid.states[parent.fingerprint] == "done" and not (folder / epoch_file(init.epoch)).is_file():
            raise BadInput(
                f"{stage.recipe.name} starts from epoch {init.epoch} of {parent.recipe.name}, which is trained and "
                f"kept no checkpoint of it; remove {folder}, so that it is trained again and keeps that one."
            )


def _check_data(grid: Grid, act: bool) -> None:
    """Check the data of stages that are to do; with `act`, raise the BadInput of the first that cannot be read."""
    for stage in grid.to_do():
        for dataset in stage.data if stage.kind == "pretrain" else ():
            try:
                if dataset in grid.roots:
                    check_pretraining(dataset, Path(grid.roots[dataset]))
            except BadInput as problem:
                grid.problems[dataset] = problem
        if _reads_objects(stage):
            root = grid.roots.get(stage.recipe.dataset)
            try:
                check_objects(stage.recipe.dataset, Path(root) if root else None, "train")
            except BadInput as problem:
                grid.problems[OBJECTS] = problem
    for stage in grid.to_do() if act else ():
        for dataset in [*stage.data, *([OBJECTS] if _reads_objects(stage) else [])]:
            if dataset in grid.problems:
                raise grid.problems[dataset]


def _reads_objects(stage: Stage) -> bool:
    """Whether a stage's objective learns from annotated objects."""
    return stage.kind == "pretrain" and stage.recipe.objective.get("masks") == "objects"


def _roots(request: Request, act: bool) -> Roots:
    """Where the data lie; a smoke run without --data-root renders scenes into the work folder."""
    words = list(request.data_root)
    if request.smoke and not words:
        rendered = request.work_dir / "rendered"
        if act:
            from bench.synthetic.render import render

            render(rendered)
        words = [str(rendered)]
    return resolve_roots(words)


def _to_render(request: Request, data: Data) -> frozenset[str]:
    """The data sets that are not there because a smoke run has not rendered them yet; they are no problem any more."""
    if not request.smoke or request.data_root or not data.problems:
        return frozenset()
    from bench.synthetic.render import rendered_names

    found = frozenset(data.problems).intersection(rendered_names())
    for name in found:
        del data.problems[name]
    return found
