"""How long a pretraining will take: from a few steps of it, timed on this machine, or not said at all.

What was timed is kept in `speeds.json` of the work folder, by machine, so that a second plan needn't time again.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from bench.config.recipe import CheckpointSettings, DiagnosticsSettings, Recipe, ScheduleSettings
from bench.data.sets import pretraining_index
from bench.errors import BadInput, Interrupted
from bench.execute import local
from bench.execute.grid import Grid
from bench.execute.local import OVER, run_folder
from bench.execute.stage_file import write_stage
from bench.files import read_json, write_text
from bench.plan import Stage, digest, hashed_settings
from bench.record import environment
from bench.train.metrics_log import read_metrics

FILE = "speeds.json"  # {machine: {key of a recipe: fields of its Speed}}
STEPS = 30  # that are timed
EVERY = 5  # steps a reading on a GPU, which a reading makes wait; on a CPU each step is one
CPU_BATCH = 128  # images of a step that is timed on a CPU, where their number hardly changes the rate
MOST_SECONDS = 90.0  # for all of it, the start included
# Settings that hardly change how fast a step is. The objectives of a study differ in a head or two.
_LEFT_OUT = frozenset({"objective", "epochs", "optimizer", "schedule", "init", "subset"})


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
    return digest({name: value for name, value in hashed_settings(recipe).items() if name not in _LEFT_OUT})[:12]


def known(recipe: Recipe, work_dir: Path, gpus: int) -> Speed | None:
    """Return the speed that was timed on this machine before, if it was."""
    stored = read_json(work_dir / FILE)
    timed = stored and stored.get(machine(gpus), {}).get(key_of(recipe))
    return Speed(**timed) if timed else None


def logged(folder: Path) -> Speed | None:
    """Return the speed that a pretraining logged itself: the median of its last readings."""
    values = _rates(folder)[-20:]
    return Speed(median(values), "from its own log") if len(values) > 1 else None


def _rates(folder: Path) -> list[float]:
    return [line["images_per_second"] for line in read_metrics(folder) if "images_per_second" in line]


def time_steps(stage: Stage, grid: Grid, gpus: int, most_seconds: float = MOST_SECONDS) -> Speed:
    """Train STEPS steps of a pretraining in a process of its own, and return how fast they were.

    They are read, augmented and trained as the run will, in a folder that is removed; on a CPU in batches of at most
    CPU_BATCH. Without a number when `most_seconds` do not suffice for a step, or when it fails; the run itself then
    says why. What was timed is kept in FILE, whatever ended it. Raises Interrupted on Ctrl-C.
    """
    recipe, length = stage.recipe, length_of(stage, grid.roots)
    if length is None:
        return Speed(None, f"the data of {recipe.name} were not found")
    every, batch_size = (EVERY, recipe.batch_size) if on_gpu() else (1, min(recipe.batch_size, CPU_BATCH))
    timed = recipe.model_copy(
        update={
            "epochs": math.ceil(STEPS / max(1, length // batch_size)),
            "subset": min(length, STEPS * batch_size),
            "batch_size": batch_size,
            "accumulate": recipe.accumulate if batch_size == recipe.batch_size else 1,
            "schedule": ScheduleSettings(name="constant"),
            "init": None,
            "log_every": every,
            "diagnostics": DiagnosticsSettings(images=0),
            "checkpoint": CheckpointSettings(every_steps=10**9),
        }
    )
    label, fingerprint = f"timing-{recipe.name}", digest(["timing", stage.fingerprint])
    timing = replace(stage, label=label, config=timed, recipe=timed, fingerprint=fingerprint, parents={})
    place = grid.work_dir / "timing"
    folder = write_stage(timing, place, grid.roots, grid.results_dir, "fail")
    try:
        code = run_folder(folder, gpus, local.clock() + most_seconds)
        values = _rates(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if values:
        settled = values[len(values) // 3 or int(len(values) > 1) :]  # the first steps compile and warm up
        steps, batches = len(settled) * every, f", of {batch_size} images" if batch_size != recipe.batch_size else ""
        plural = "s" if steps > 1 else ""
        speed = Speed(round(median(settled), 1), f"from {steps} step{plural} of {recipe.name} timed here{batches}")
    else:
        few = "a step" if every == 1 else f"{every} steps"
        speed = Speed(None, f"{few} of {recipe.name} took more than {most_seconds:.0f} s here")
    if values or code == OVER:
        stored = read_json(grid.work_dir / FILE)
        stored.setdefault(machine(gpus), {})[key_of(recipe)] = asdict(speed)
        write_text(grid.work_dir / FILE, json.dumps(stored, indent=1) + "\n")
    if code == Interrupted.exit_code:
        raise Interrupted(f"Timing {recipe.name} was interrupted; nothing had begun.")
    if not values and code != OVER:
        return Speed(None, f"a few steps of {recipe.name} failed here")
    return speed


def task_seconds(work_dir: Path, stages: Sequence[Stage]) -> float | None:
    """Return how long tasks of these names took before in this work folder, in sum; None where one never ran."""
    total = 0.0
    for stage in stages:
        done = map(read_json, work_dir.glob(f"{stage.kind}/*--{stage.config.name}-s*/done.json"))
        took = [float(one["wall_seconds"]) for one in done if "wall_seconds" in one]
        if not took:
            return None
        total += median(took)
    return total
