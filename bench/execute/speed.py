"""How long a pretraining will take: from parts of its steps, timed on this machine, or not said at all.

The timing is that of `bench plan --estimate` (`probe`). What was timed is kept in the work folder, by machine, so that
a second plan needn't time again: speeds in `speeds.json`, and what `probe` found in a file of its own.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench.config.recipe import Recipe
from bench.data.sets import pretraining_index
from bench.errors import BadInput, Interrupted
from bench.execute import likeness
from bench.execute.grid import Grid
from bench.execute.machine import this_machine
from bench.execute.probe import FILE as TIMED
from bench.execute.probe import SECONDS, kept, probe
from bench.files import read_json, write_text
from bench.plan import Stage, digest, hashed_as_set
from bench.record import environment
from bench.train.metrics_log import read_metrics

FILE = "speeds.json"  # {machine: {key of a recipe: fields of its Speed}}
MOST_SECONDS = SECONDS  # for all of it, the start included
# Settings that hardly change how fast a step is. The objectives of a study differ in a head or two.
_LEFT_OUT = frozenset({"objective", "epochs", "optimizer", "schedule", "init", "subset", "export"})


@dataclass(frozen=True)
class Speed:
    """Training images per second (None: was tried, and took too long), and where that number comes from."""

    images_per_second: float | None
    words: str

    def __str__(self) -> str:
        rate = self.images_per_second
        return self.words if rate is None else f"{rate:,.{0 if rate >= 10 else 1}f} images/s, {self.words}"


def length_of(stage: Stage, roots: dict[str, str]) -> int | None:
    """Return the images of an epoch of a pretraining; None where its data were not found."""
    recipe = stage.recipe
    try:
        images = len(pretraining_index(recipe.dataset, Path(roots[recipe.dataset])).files)
    except (KeyError, BadInput):
        return None
    return min(images, recipe.subset or images)


def steps_of(recipe: Recipe, length: int) -> int:
    """Return the optimizer steps of an epoch; the last, partial batch is dropped."""
    return max(1, length // recipe.batch_size)


def on_gpu() -> bool:
    """Return whether stages compute on a GPU here."""
    import torch

    return torch.cuda.is_available()


def machine(gpus: int) -> str:
    """Return what tells this machine from others that may hold the same work folder."""
    if on_gpu():
        import torch

        return f"{torch.cuda.get_device_name(0)} × {gpus}"
    hardware = environment()["hardware"]
    return f"{hardware.cpu}, {hardware.cores} cores × {gpus}"


def key_of(recipe: Recipe) -> str:
    """Return 12 digits that pretrainings share which are taken to be equally fast."""
    return digest({name: value for name, value in hashed_as_set(recipe).items() if name not in _LEFT_OUT})[:12]


def known(recipe: Recipe, work_dir: Path, gpus: int) -> Speed | None:
    """Return the speed that was timed on this machine before, if it was; what another version wrote may not be one."""
    with contextlib.suppress(TypeError, KeyError):
        return Speed(**read_json(work_dir / FILE)[machine(gpus)][key_of(recipe)])
    return None


def logged(folder: Path) -> Speed | None:
    """Return the speed that a pretraining logged itself: the median of its last readings."""
    values = _rates(folder)[-20:]
    return Speed(median(values), "from its own log") if len(values) > 1 else None


def _rates(folder: Path) -> list[float]:
    return [line["images_per_second"] for line in read_metrics(folder) if "images_per_second" in line]


def time_steps(stage: Stage, grid: Grid, gpus: int, most_seconds: float = MOST_SECONDS) -> Speed:
    """Time the parts of a pretraining's steps, as `bench plan --estimate` does, and return how fast they are.

    Without a number when `most_seconds` do not suffice, or when it fails; the run itself then says why.
    Raises Interrupted on Ctrl-C.
    """
    recipe = stage.recipe
    if length_of(stage, grid.roots) is None:
        return Speed(None, f"the data of {recipe.name} were not found")
    here = this_machine()
    key = likeness.key_of(stage, here)
    try:
        found = probe({key: stage}, grid.roots, here, grid.work_dir, most_seconds)[key]
    except KeyboardInterrupt as error:
        raise Interrupted(f"Timing {recipe.name} was interrupted; nothing had begun.") from error
    if isinstance(found, str):
        return Speed(None, f"{recipe.name} was {found}")
    steps = found.phases[0]
    seconds = steps.seconds(here.cores).middle / steps.count / (gpus if here.gpus else 1)
    speed = Speed(round(recipe.batch_size / seconds, 1), f"from parts of the steps of {recipe.name} timed here")
    stored = read_json(grid.work_dir / FILE)
    stored.setdefault(machine(gpus), {})[key_of(recipe)] = asdict(speed)
    write_text(grid.work_dir / FILE, json.dumps(stored, indent=1) + "\n")
    return speed


def time_tasks(stages: Sequence[Stage], roots: Mapping[str, str], work_dir: Path, most_seconds: float) -> None:
    """Time the parts of evaluations of which nothing is known, for `task_seconds`; their data must be there."""
    here = this_machine()
    known = kept(work_dir, here)
    unknown = {key: stage for stage in reversed(stages) if (key := likeness.key_of(stage, here)) not in known}
    probe(unknown, roots, here, work_dir, most_seconds)


def task_seconds(work_dir: Path, stages: Sequence[Stage]) -> float | None:
    """Return how long tasks of these names took before in this work folder, in sum, or will take by what was timed.

    None where neither is known of one.
    """
    total, timed = 0.0, _timed(work_dir)
    for stage in stages:
        done = map(read_json, work_dir.glob(f"{stage.kind}/*--{stage.config.name}-s*/done.json"))
        took = [float(one["wall_seconds"]) for one in done if "wall_seconds" in one and not one.get("untimed")]
        if not took and (seconds := timed(stage)) is not None:
            took.append(seconds)
        if not took:
            return None
        total += median(took)
    return total


def _timed(work_dir: Path) -> Callable[[Stage], float | None]:
    """Return what says how long a stage takes by the parts of it that were timed here before; None if none were."""
    if not (work_dir / TIMED).is_file():
        return lambda _stage: None
    here = this_machine()
    known = kept(work_dir, here)

    def seconds(stage: Stage) -> float | None:
        costs = known.get(likeness.key_of(stage, here))
        return None if costs is None else costs.seconds(here.cores).middle

    return seconds
