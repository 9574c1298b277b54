"""How good `bench plan --estimate` is: each stage is estimated, run, and estimated again, and the times compared.

    python benchmarks/estimates.py --data-root DIR        # real images; without it rendered ones

It writes results/benchmarks/CLASS/estimates.json, for docs/performance.md (`make performance`). No record is looked
at. The estimate is the mean of that before and that after the run, so that a machine whose speed drifts affects both
alike; a user has the first alone. A stage is timed from the start of its process to its end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from measurements import ROOT, Check, Figures, save, taken

from bench.execute.estimate import estimate
from bench.execute.estimated import StageEstimate
from bench.execute.grid import Grid, plan_grid
from bench.execute.local import run_folder
from bench.execute.machine import Machine, this_machine
from bench.execute.probe import SECONDS, probe
from bench.execute.request import Request
from bench.execute.stage_file import finished, write_stage
from bench.plan import Stage
from bench.synthetic.render import render

RESULTS = ROOT / "results" / "benchmarks"
GOAL = 20.0  # percent
RATIO = "time, estimated / measured"
# Grids of the profile `mini`, made smaller, so that a stage takes seconds: (pretraining, tasks, --set).
SMALL = ("pretrain.arch=resnet18", "pretrain.view_size=64", "pretrain.epochs=2")
FROZEN = ("downstream.size=64", "downstream.resize=73")
SEGMENTATION = (
    *("downstream.iterations=20", "downstream.validate_every=20", "downstream.batch_size=4"),
    *("downstream.crop=(96,128)", "downstream.scale=(160,120)", "downstream.channels_last=True"),
)
GRIDS = (
    ("coco", ("imagenet_linear", "imagenet_knn", "imagenet_linear_cached"), (*SMALL, *FROZEN)),
    ("coco", ("pspnet_r18-d8_4xb2-80k_cityscapes-512x1024",), (*SMALL, *SEGMENTATION)),
    ("cifar10_byol_loss1", ("cifar10_linear",), ("pretrain.epochs=2",)),
)


def planned(words: Sequence[str], place: Path, smoke: bool) -> list[Grid]:
    """Return the grids, with work folders below `place`."""
    grids = []
    for pretrain, tasks, changes in GRIDS:
        request = Request(
            [pretrain], tasks, (0,), "smoke" if smoke else "mini", assignments=() if smoke else changes,
            data_root=words, work_dir=place / "work", results_dir=place / "results",
        )  # fmt: skip
        grids.append(plan_grid(request, act=True))
    return grids


def together(grids: Sequence[Grid]) -> Grid:
    """Return one grid with the stages of all, so that one minute is for all of them."""
    stages = {stage.fingerprint: stage for grid in grids for stage in grid.stages}
    states = {key: state for grid in grids for key, state in grid.states.items()}
    roots = {name: root for grid in grids for name, root in grid.roots.items()}
    return replace(grids[0], stages=list(stages.values()), states=states, roots=roots)


def ran(stage: Stage, grid: Grid) -> float:
    """Run a stage; return the seconds of its whole process. Raises RuntimeError when it fails."""
    folder = write_stage(stage, grid.work_dir, grid.roots, grid.results_dir, "fail")
    began = time.perf_counter()
    if code := run_folder(folder, 1):
        raise RuntimeError(f"{stage.title} ended with {code}")
    return time.perf_counter() - began


def estimated(stage: Stage, grid: Grid, machine: Machine, seconds: float) -> StageEstimate:
    """Estimate one stage, by timing alone."""
    alone = replace(grid, stages=[stage], states={stage.fingerprint: "to do"})
    timing = partial(probe, roots=grid.roots, machine=machine, work_dir=grid.work_dir / "timing", seconds=seconds)
    return estimate(alone, 1, machine, [], {}, timing).stages[0]


def row(stage: Stage, grid: Grid, machine: Machine, seconds: float) -> dict[str, float | None]:
    """Return what was estimated of a stage before and after its run, and what the run took."""
    before = estimated(stage, grid, machine, seconds)
    measured = ran(stage, grid)
    after = estimated(stage, grid, machine, seconds)
    folder = grid.work_dir / stage.folder
    memory = finished(folder).peak_memory_mib["process"]
    disk = sum(file.stat().st_size for file in folder.glob("*") if file.suffix in {".ckpt", ".pth", ".safetensors"})
    if before.seconds is None or after.seconds is None:
        print(f"{stage.title}: {before.source}; {after.source}", flush=True)
        return {"measured, s": measured}
    mean = (before.seconds.middle + after.seconds.middle) / 2
    return {
        "before, s": before.seconds.middle,
        "from": before.seconds.low,
        "to": before.seconds.high,
        "after, s": after.seconds.middle,
        "measured, s": measured,
        RATIO: mean / measured,
        "memory, estimated / measured": before.memory_mib["process"] / memory,
        "disk, estimated / measured": before.disk_bytes / disk if before.disk_bytes and disk else None,
    }


def summary(table: Mapping[str, Mapping[str, float | None]], machine: Machine, load: float, threads: int) -> Figures:
    """Return what the file holds."""
    off = [abs(100 * (value - 1)) for one in table.values() if (value := one.get(RATIO)) is not None]
    within = sum(value <= GOAL for value in off)
    return Figures(
        benchmark="estimates",
        title="Estimates before a run against the runs",
        notes=[
            "Profile mini, made smaller. Each stage was estimated, run, and estimated again.",
            f"{within} of {len(off)} stages are within {GOAL:.0f} percent; the furthest by {max(off, default=0):.0f}.",
            f"The machine was shared: {load:.1f} processes wanted its {machine.cores} cores as it began, "
            f"{os.getloadavg()[0]:.1f} as it ended. Threads of a process: {threads}.",
        ],
        taken=taken(),
        checks=[
            Check(
                what=f"stages whose time was estimated within {GOAL:.0f} percent", value=within, goal=6, unit="stages"
            )
        ],
        figures={name: dict(one) for name, one in table.items()},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description="Compare estimates with runs.")
    parser.add_argument("--data-root", nargs="+", default=[], metavar="DIR", help="as bench run has it")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that timing may take, for each stage")
    parser.add_argument("--threads", type=int, help="of each process; fewer suffer less from a machine that is shared")
    parser.add_argument("--quick", action="store_true", help="profile smoke on rendered scenes: whether all of it runs")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
    if options.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if not options.data_root:
            render(place / "rendered")
        words = options.data_root or [str(place / "rendered")]
        grid = together(planned(words, place, options.quick))
        machine = this_machine()
        load = os.getloadavg()[0]
        table: dict[str, dict[str, float | None]] = {}
        for stage in grid.stages:
            if stage.kind == "convert":
                ran(stage, grid)
                continue
            table[stage.title] = row(stage, grid, machine, options.seconds)
            print(
                stage.title, {name: value and round(value, 2) for name, value in table[stage.title].items()}, flush=True
            )
            # Each time, in case that it is stopped.
            save(summary(table, machine, load, options.threads or machine.cores), options.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
