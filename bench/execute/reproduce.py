"""A whole study, such as that of a published table: planned, with the time that it will take, and run in sittings.

Each part of a study is a request as `bench run` has it. A study adds their order, the time, and when to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.config.recipe import Profile
from bench.config.studies import Part, Study, reference_folder, studies_of
from bench.errors import BadInput, MoreToDo, StageFailed, nearest, nearest_or_all
from bench.execute import local
from bench.execute.grid import Grid, plan_grid
from bench.execute.local import LEAST_SECONDS, run_grid
from bench.execute.request import Request
from bench.execute.speed import FILE as SPEEDS
from bench.execute.speed import (
    MOST_SECONDS,
    Speed,
    key_of,
    known,
    length_of,
    logged,
    steps_of,
    task_seconds,
    time_steps,
    time_tasks,
)
from bench.execute.stale import StaleChoice
from bench.execute.words import counted, duration
from bench.plan import Stage
from bench.train.metrics_log import read_metrics


@dataclass(frozen=True)
class Options:
    """What a person asked for, besides the study."""

    seeds: Sequence[int] = (0,)
    task_seeds: Sequence[int] = ()  # instead of those of the study, if there are any
    only: Sequence[str] = ()  # data sets
    profile: Profile = "full"
    data_root: Sequence[str] = ()
    gpus: int = 1
    work_dir: Path = Path("runs")
    results_dir: Path | None = None
    minutes: float | None = None  # of this sitting
    timing: bool = False  # whether a few steps are timed where nothing is known
    assignments: Sequence[str] = ()  # as --set of bench run, after the study's own
    stale: StaleChoice = "refuse"  # what becomes of what other code has made


@dataclass
class Run:
    """One pretraining with one seed, and what is measured of it."""

    grid: Grid
    pretrain: Stage
    tasks: list[Stage] = field(default_factory=list)
    speed: Speed | None = None

    @property
    def trains(self) -> bool:
        """Whether the pretraining is still to do, or to go on."""
        return self.state in {"begun", "to do"}

    @property
    def state(self) -> str:
        """`recorded`, `trained` (measurements are left), `begun` (a checkpoint is there), `to do`."""
        if not self.tasks_left():
            return "recorded"
        if self.grid.states[self.pretrain.fingerprint] == "done":
            return "trained"
        return "begun" if (self.folder / "last.ckpt").is_file() else "to do"

    @property
    def folder(self) -> Path:
        """The pretraining's."""
        return self.grid.work_dir / self.pretrain.folder

    def tasks_left(self) -> list[Stage]:
        """The measurements that are not recorded."""
        return [task for task in self.tasks if self.grid.states[task.fingerprint] != "recorded"]

    def images_left(self) -> int | None:
        """How many images are still to be trained; None where the data are missing."""
        if not self.trains:
            return 0
        recipe, length = self.pretrain.recipe, length_of(self.pretrain, self.grid.roots)
        if length is None:
            return None
        lines = read_metrics(self.folder) if self.state == "begun" else []
        done = int(lines[-1]["step"]) if lines else 0
        return (recipe.epochs * steps_of(recipe, length) - done) * recipe.batch_size

    def seconds(self) -> float | None:
        """What the pretraining still takes, as far as that is known."""
        images = self.images_left()
        if images == 0:
            return 0.0
        if images is None or self.speed is None or self.speed.images_per_second is None:
            return None
        return images / self.speed.images_per_second


@dataclass
class StudyPlan:
    """The runs of a study in order, and the grids that they are parts of."""

    name: str
    summary: str
    options: Options
    grids: list[Grid]
    runs: list[Run]
    until: float | None  # by local.clock()

    def lines(self) -> list[str]:
        """Return the plan for people: each run, what is done of it, how long it takes, and the sum."""
        lines = [f"{self.name}: {self.summary}"]
        width = max(len(run.pretrain.label) for run in self.runs)
        total, unknown, lost, evaluations = 0.0, 0, 0, 0
        for number, run in enumerate(self.runs, 1):
            left, recipe = run.tasks_left(), run.pretrain.recipe
            words = f"{counted(recipe.epochs, 'epoch')} in batches of {recipe.batch_size}"
            words = words if recipe.epochs else "nothing to train"
            seconds = run.seconds()
            if run.trains:
                words += f": about {duration(seconds)}" if seconds is not None else ": unknown" if run.speed else ""
                words += f" ({run.speed})" if run.speed is not None else ""
            unknown += seconds is None
            lost += run.images_left() is None
            total += seconds or 0.0
            if left:
                took = task_seconds(run.grid.work_dir, left)
                evaluations += took is None
                total += took or 0.0
                words += f"; {len(left)} of {len(run.tasks)} evaluations to do"
                words += f", about {duration(took)}" if took else ""
            lines.append(f"{number:>3}  {run.state:<8}  {run.pretrain.label:<{width}}  {words}")
        parts = [f"{counted(len(self.runs), 'run')}, {sum(run.state == 'recorded' for run in self.runs)} recorded"]
        parts.append(
            f"about {duration(total)} left" if total else "nothing timed yet" if unknown or evaluations else ""
        )
        parts.append(f"without {counted(unknown, 'pretraining')} that were not timed yet" if unknown else "")
        parts.append(
            f"without the evaluations of {counted(evaluations, 'run')}, which were not timed yet" if evaluations else ""
        )
        lines.append("; ".join(part for part in parts if part))
        if unknown > lost and not self.options.timing:
            lines.append(
                f"--time times a few steps of each kind of pretraining, at most {MOST_SECONDS:.0f} s each, and keeps "
                f"that in {self.options.work_dir / SPEEDS}."
            )
        problems = dict.fromkeys(str(problem) for grid in self.grids for problem in grid.problems.values())
        notes = dict.fromkeys(note for grid in self.grids for note in grid.notes)
        return lines + [f"missing: {problem}" for problem in problems] + [f"note: {note}" for note in notes]


def plan_study(name: str, options: Options, *, act: bool) -> StudyPlan:
    """Plan a study. With `act`, missing data is an error, and scenes are rendered for a smoke run.

    Raises BadInput for an unknown study or data set, and whatever `plan_grid` refuses, before anything runs.
    """
    began = local.clock()
    studies = studies_of(reference_folder(options.results_dir or Path("results")))
    if name not in studies:
        raise BadInput(f"No study {name!r}{nearest_or_all(name, studies)}")
    study = studies[name]
    if options.minutes is not None and options.minutes <= 0:
        raise BadInput(f"--minutes is {options.minutes:g}; give a time above 0, or leave it out.")
    grids: list[Grid] = []
    for seed in dict.fromkeys(options.seeds):
        for part in _parts(name, study, options):
            request = Request(
                pretrain=part.pretrain,
                downstream=part.downstream,
                seeds=(seed,),
                task_seeds=options.task_seeds or part.task_seeds,
                profile=options.profile,
                smoke=options.profile == "smoke",
                assignments=(*part.settings(study, options.profile), *options.assignments),
                sweep=part.sweep,
                data_root=options.data_root,
                work_dir=options.work_dir,
                results_dir=options.results_dir,
            )
            grids.append(plan_grid(request, act=act, gpus=options.gpus, stale=options.stale))
    runs = [run for grid in grids for run in _runs(grid)]
    for run in runs:
        run.speed = known(run.pretrain.recipe, options.work_dir, options.gpus)
        if run.speed is None or run.speed.images_per_second is None:
            run.speed = logged(run.folder) or run.speed
    _share(runs)
    until = None if options.minutes is None else began + 60 * options.minutes
    return StudyPlan(name, study.summary, options, grids, runs, until)


def _share(runs: Sequence[Run]) -> None:
    """Give runs of which nothing is known the rate that another, as fast by its settings, logged."""
    rates = {key_of(run.pretrain.recipe): run for run in runs if run.speed and run.speed.images_per_second is not None}
    for run in runs:
        like = rates.get(key_of(run.pretrain.recipe))
        if like is not None and like.speed is not None and (run.speed is None or run.speed.images_per_second is None):
            run.speed = Speed(like.speed.images_per_second, f"as {like.pretrain.label}")


def _parts(name: str, study: Study, options: Options) -> list[Part]:
    parts = [study.smoke] if options.profile == "smoke" else list(study.parts)
    have = dict.fromkeys(part.dataset for part in parts)
    for dataset in options.only:
        if dataset not in have:
            hint = nearest(dataset, have) or f"; it has {', '.join(have)}."
            raise BadInput(f"{name} has no part on {dataset!r} for --only{hint}")
    return [part for part in parts if not options.only or part.dataset in options.only]


def _runs(grid: Grid) -> list[Run]:
    """A run for each pretraining that something is measured of, in the grid's order."""
    runs: dict[str, Run] = {}
    for stage in grid.stages:
        if stage.is_task:
            pretrain = stage.parents["convert"].parents["pretrain"]
            runs.setdefault(pretrain.fingerprint, Run(grid, pretrain)).tasks.append(stage)
    return list(runs.values())


def run_study(plan: StudyPlan) -> None:
    """Say the plan, then run what is to do, in order; what does not hang on a failed stage still runs.

    Raises StageFailed (or BadInput) at the end if something failed, MoreToDo when the sitting is over before all is
    done, and Interrupted on Ctrl-C.
    """
    if plan.options.timing:
        time_unknown(plan)
    print("\n".join(plan.lines()), flush=True)
    failures: list[Exception] = []
    for grid in plan.grids:
        if not grid.to_do():
            continue
        try:
            run_grid(grid, plan.options.gpus, until=plan.until)
        except MoreToDo as error:
            left = sum(bool(run.tasks_left()) for run in plan_study(plan.name, plan.options, act=False).runs)
            words = [str(error), f"{left} of {len(plan.runs)} runs are left.", *map(str, failures)]
            raise MoreToDo(" ".join(words)) from error
        except (StageFailed, BadInput) as error:
            failures.append(error)
    if failures:
        kind = BadInput if all(isinstance(error, BadInput) for error in failures) else StageFailed
        raise kind(" ".join(str(error) for error in failures))


def time_unknown(plan: StudyPlan) -> None:
    """Time parts of each kind of pretraining that is to be trained and that nothing is known of, then of evaluations.

    Of a sitting, at most a third is spent on it.
    """
    timed: dict[str, Speed] = {}
    stop = float("inf") if plan.until is None else local.clock() + (plan.until - local.clock()) / 3
    for run in plan.runs:
        if run.speed is not None or not run.images_left():
            continue
        key = key_of(run.pretrain.recipe)
        if key not in timed:
            seconds = min(MOST_SECONDS, stop - local.clock())
            if seconds < LEAST_SECONDS:
                return
            print(f"timing {run.pretrain.label}", flush=True)
            timed[key] = time_steps(run.pretrain, run.grid, plan.options.gpus, seconds)
        run.speed = timed[key]
    tasks = [task for run in plan.runs for task in run.tasks_left()]
    roots = {name: root for grid in plan.grids for name, root in grid.roots.items()}
    if tasks and (seconds := min(MOST_SECONDS, stop - local.clock())) >= LEAST_SECONDS:
        print("timing evaluations", flush=True)
        time_tasks([task for task in tasks if set(task.data) <= set(roots)], roots, plan.options.work_dir, seconds)
