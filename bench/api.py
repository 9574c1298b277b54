"""bench from Python: run a grid, read the records, load a trunk. docs/python.md shows it at work.

What is here is stable (docs/versioning.md). Heavy things are imported inside the functions.

What a user can correct raises `BadInput`, with one sentence that says what is wrong and the remedy; it names options of
the command line, which are the arguments here (`--work-dir` is `work_dir`). Nothing here ends the interpreter.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import BadInput, Interrupted, shortened

if TYPE_CHECKING:
    import pandas as pd

    from bench.convert.trunk_network import TrunkNetwork
    from bench.execute.grid import Grid

Name = str | os.PathLike[str]  # of a config: its name, or its path
Settings = Mapping[str, Any] | Sequence[str]


@dataclass(frozen=True)
class GridResult:
    """What became of a grid: where its records and its trunks lie. `records` reads the former."""

    files: tuple[Path, ...] = field(repr=False)  # the records in the grid's order; absolute, for chdir
    trunks: Mapping[str, Path]  # "coco-s0" -> folder, for `load_trunk`; without those deleted since
    work_dir: Path = field(repr=False)
    results_dir: Path

    @property
    def records(self) -> pd.DataFrame:
        """The grid's records, one line a number, with the columns of `bench.records`."""
        from bench.record import read_file
        from bench.results.as_now import as_now
        from bench.results.record_lines import record_lines

        return record_lines(as_now([read_file(file) for file in self.files]))


def run(
    pretrain: Name | Sequence[Name],
    downstream: Name | Sequence[Name] = (),
    *,
    seeds: int | Iterable[int] = 0,
    task_seeds: int | Iterable[int] = (),
    profile: Literal["full", "mini", "smoke"] = "full",
    smoke: bool = False,
    set: Settings = (),
    sweep: Mapping[str, Sequence[Any]] | Sequence[str] = (),
    data_root: Name | Mapping[str, Name] | Sequence[str] = (),
    work_dir: Name = "runs",
    results_dir: Name | None = None,
    gpus: int = 1,
    per_stage: int | None = None,
    unreadable: Literal["fail", "skip"] = "fail",
    stale: Literal["refuse", "keep", "redo"] = "refuse",
    safe: bool = False,
) -> GridResult:
    """Run a grid, as `bench run` does: pretrainings × seeds × downstream tasks. What is recorded already is skipped.

    Stages run in processes of their own and print to this one's output. Ctrl-C (in a notebook: interrupt the kernel)
    lets the stage at hand write a checkpoint and raises KeyboardInterrupt; called again, the grid goes on from there.

    Args:
        pretrain: configs by name or path; a config in Python is run when it is read (see `safe`).
        downstream: the same, also mmseg's.
        seeds: of the pretrainings: `0`, `[0, 1, 2]`, `range(3)`.
        task_seeds: of the tasks on each trunk; none: that of the pretraining.
        profile: the schedule.
        smoke: profile smoke, on scenes that are rendered here.
        set: values laid over the configs, `{"pretrain.epochs": 2, "objective.temperature": 0.2}`, or words as after
            --set.
        sweep: each pretraining once for every value: `{"objective.temperature": [0.1, 0.2]}`.
        data_root: `{"coco": DIR}`, or one folder that holds all.
        work_dir: where stages keep their files.
        results_dir: records and tables; by default `results`, of a smoke run `<work_dir>/smoke/results`.
        gpus: in all; on a CPU processes.
        per_stage: GPUs a stage; stages then run side by side.
        unreadable: what to do with an unreadable image.
        stale: what to do with what other code has made.
        safe: configs are read as plain data, and no code is run that they name.

    Raises BadInput for a wrong request, and StageFailed where a stage broke; by then all others have run, except those
    that need it.
    """
    from bench.execute.devices import check_gpus
    from bench.execute.grid import plan_grid
    from bench.execute.local import run_grid
    from bench.execute.request import Request
    from bench.execute.schedule import run_side_by_side

    request = Request(
        pretrain=_names(pretrain, "pretrain"),
        downstream=_names(downstream, "downstream"),
        seeds=_seeds(seeds, "seeds"),
        task_seeds=_seeds(task_seeds, "task_seeds"),
        profile=_one_of("profile", profile, ("full", "mini", "smoke")),
        smoke=smoke,
        assignments=_assignments(set),
        sweep=_swept(sweep),
        data_root=_roots(data_root),
        work_dir=Path(work_dir),
        results_dir=None if results_dir is None else Path(results_dir),
        unreadable=_one_of("unreadable", unreadable, ("fail", "skip")),
    )
    stale = _one_of("stale", stale, ("refuse", "keep", "redo"))
    if not request.pretrain:
        raise BadInput("bench.run was given no pretraining; name one in pretrain=, such as 'random_init'.")
    if not request.seeds:
        raise BadInput("bench.run was given no seeds; give a whole number from 0, or several, in seeds=.")
    for name, number in (("gpus", gpus), ("per_stage", per_stage)):
        if number is not None and (not _is_whole(number) or number < 1):
            raise BadInput(f"{name} is {shortened(number)}; give a whole number from 1.")
    with _safe_mode_if(safe), _passive_threads():
        check_gpus(gpus, per_stage)
        grid = plan_grid(request, act=True, gpus=per_stage or gpus, stale=stale)
        for note in grid.notes:
            print(f"note: {note}", flush=True)
        try:
            if per_stage is None:
                run_grid(grid, gpus, request.unreadable)
            else:
                run_side_by_side(grid, gpus, per_stage, request.unreadable)
        except Interrupted as error:
            raise KeyboardInterrupt(f"{error} Call bench.run again to go on.") from None
    if request.downstream:
        from bench.results.tables import write_tables

        write_tables(grid.results_dir)
    return _result(grid)


def records(results_dir: Name = "results") -> pd.DataFrame:
    """Return the records of a results folder as a DataFrame: one line for each number that each record holds.

    Columns are those of docs/python.md: row, task, metric, part, value, unit, seed, …. Where there are no records yet,
    the frame is empty. Compare values only where `protocol` and `data` agree.

    Raises BadInput where there is no such folder, or a record is damaged.
    """
    from bench.record import read_all
    from bench.results.as_now import as_now
    from bench.results.record_lines import record_lines

    folder = Path(results_dir)
    if not folder.is_dir():
        raise BadInput(f"There is no results folder {folder}; give results_dir=, or make records by bench.run.")
    return record_lines(as_now(read_all(folder / "records")))


def load_trunk(source: Name, *, work_dir: Name = "runs", results_dir: Name = "results") -> TrunkNetwork:
    """Return a trained backbone as a torch module, with the weights proven to be those of its file.

    Every tensor is compared by hash after it is loaded; of a stage's folder the load proof must hold, and of a record
    the weights must be those that it was made with. The network is in eval mode and on the CPU, and maps images
    N×3×H×W to features N×`feature_dim`; `network.maps(images)` are C2 to C5. It expects RGB images of type float32 that
    are normalised by `network.mean` and `network.std`: `network(network.normalised(images))`.

    Args:
        source: a record (its file, its name, or how its fingerprint begins), a folder of a convert stage or of a task's
            stage, or a file `trunk.safetensors`.
        work_dir: where a record's weights lie.
        results_dir: where records are.

    Raises BadInput where there is no trunk, or where it is damaged or of other weights.
    """
    from bench.convert.trunk import TRUNK
    from bench.convert.trunk_network import trunk_network
    from bench.execute.stage_file import STAGE, read_stage
    from bench.execute.trace import find_record

    place = Path(source)
    if place.is_dir():
        if not (place / TRUNK).is_file() and (place / STAGE).is_file():
            stage = read_stage(place)
            if "convert" not in stage.inputs:
                raise BadInput(
                    f"{place} is a stage that has no trunk ({stage.title}); give its convert stage's folder."
                )
            place = place.parents[1] / stage.inputs["convert"]
        if not (place / TRUNK).is_file():
            raise BadInput(f"{place} holds no {TRUNK}; give the folder of a convert stage, which bench.run makes.")
        return trunk_network(place / TRUNK)
    if place.suffix == ".safetensors":
        if not place.is_file():
            raise BadInput(f"There is no file {place}; give the path of a {TRUNK}, or a record's name.")
        return trunk_network(place)
    file, record = find_record(str(source), Path(results_dir))
    if record.weights is None:
        raise BadInput(f"{file} does not say where its weights lie; give the path of its {TRUNK}.")
    weights = Path(work_dir) / record.weights
    if not weights.is_file():
        raise BadInput(f"The weights of {file.stem} are not at {weights}; give the work_dir= that it was made in.")
    return trunk_network(weights, record.trunk)


def _result(grid: Grid) -> GridResult:
    from bench.convert.trunk import TRUNK

    folder = grid.results_dir / "records"
    files = [(folder / stage.record_name).absolute() for stage in grid.stages if stage.is_task]
    folders = {stage.label: grid.work_dir / stage.folder for stage in grid.stages if stage.kind == "convert"}
    there = {label: place for label, place in folders.items() if (place / TRUNK).is_file()}
    return GridResult(tuple(file for file in files if file.is_file()), there, grid.work_dir, grid.results_dir)


def _safe_mode_if(safe: bool) -> Any:
    """Return a context that is in safe mode if asked."""
    from bench.safe_mode import safe_mode

    return safe_mode() if safe else nullcontext()


@contextmanager
def _passive_threads() -> Iterator[None]:
    """Let stages' threads wait without spinning, as under the command line."""
    variable = "OMP_WAIT_POLICY"
    if variable in os.environ:
        yield
        return
    os.environ[variable] = "PASSIVE"
    try:
        yield
    finally:
        os.environ.pop(variable, None)


def _names(given: Name | Sequence[Name], argument: str, remedy: str = "a config's name or path") -> list[str]:
    several = [given] if isinstance(given, str | os.PathLike) else given
    if not isinstance(several, Iterable) or not all(isinstance(each, str | os.PathLike) for each in several):
        raise BadInput(f"{argument} is {shortened(given)}; give {remedy}, or a list of these.")
    return [os.fspath(each) for each in several]


def _is_whole(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _seeds(given: int | Iterable[int], argument: str) -> list[int]:
    several = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not all(_is_whole(each) and each >= 0 for each in several):
        raise BadInput(f"{argument} is {shortened(given)}; give a whole number from 0, or several.")
    return [int(each) for each in several]


def _one_of(argument: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise BadInput(f"{argument} is {shortened(value)}; give one of {', '.join(choices)}.")
    return value


def _literal(key: str, value: Any) -> str:
    """A value as Python writes it, by which it is read again; BadInput for one that would come back as another."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif hasattr(value, "item") and getattr(value, "shape", None) == ():  # a number of numpy's
        value = value.item()
    try:
        if ast.literal_eval(text := repr(value)) == value:
            return text
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        pass
    raise BadInput(
        f"The value of {key} is {shortened(value)}; give numbers, text, True, False, None, or lists and "
        "dictionaries of these."
    )


def _assignments(given: Settings) -> list[str]:
    if isinstance(given, Mapping):
        return [f"{key}={_literal(key, value)}" for key, value in given.items()]
    return _names(given, "set", "a dictionary of values, words as after --set")


def _swept(given: Mapping[str, Sequence[Any]] | Sequence[str]) -> list[str]:
    if not isinstance(given, Mapping):
        return _names(given, "sweep", "a dictionary of lists, words as after --sweep")
    for key, values in given.items():
        if isinstance(values, str) or not isinstance(values, Iterable) or not list(values):
            raise BadInput(f"sweep of {key} is {shortened(values)}; give a list of values.")
    return [f"{key}={','.join(_literal(key, value) for value in values)}" for key, values in given.items()]


def _roots(given: Name | Mapping[str, Name] | Sequence[str]) -> list[str]:
    if isinstance(given, Mapping):
        for name, folder in given.items():
            if not isinstance(folder, str | os.PathLike):
                raise BadInput(f"data_root of {name} is {shortened(folder)}; give the path of a folder.")
        return [f"{name}={os.fspath(folder)}" for name, folder in given.items()]
    return _names(given, "data_root", "{data set: folder}, a folder that holds all")
