"""How good `bench plan --estimate` is: stages are estimated, all at once, then run, and the times compared.

    python benchmarks/estimates.py --data-root DIR        # real images; without it rendered ones

It writes results/benchmarks/estimates.json, for docs/performance.md (`make performance`). The estimate has its minute
for all stages together, as a user's has, and sees no record. A stage is timed from the start of its process to its end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from measurements import ROOT, Check, Figures, save, taken

from bench.execute.estimate import estimate
from bench.execute.estimated import GridEstimate
from bench.execute.grid import Grid, plan_grid
from bench.execute.local import run_folder
from bench.execute.machine import this_machine
from bench.execute.probe import probe
from bench.execute.request import Request
from bench.execute.stage_file import finished, write_stage
from bench.plan import Stage
from bench.synthetic.render import render

RESULTS = ROOT / "results" / "benchmarks"
GOAL = 20.0  # percent
LEAST_SECONDS = 10.0  # a shorter stage is nearly all imports, and says nothing
# Grids of the profile `mini`, made shorter: (pretraining, tasks, --set).
GRIDS = (
    ("coco", ("cityscapes_pspnet", "imagenet_linear", "imagenet_knn", "diagnostics"), ("pretrain.epochs=4",)),
    ("imagenet_simclr", ("imagenet_linear_cached",), ("pretrain.epochs=1",)),
    ("cifar10_byol_loss1", ("cifar10_linear",), ("pretrain.epochs=30",)),
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


def rows(estimated: GridEstimate, grid: Grid) -> dict[str, dict[str, float | None]]:
    """Run all stages in order; return for each what was estimated and what it took."""
    table: dict[str, dict[str, float | None]] = {}
    for one in estimated.stages:
        seconds = ran(one.stage, grid)
        folder = grid.work_dir / one.stage.folder
        memory = finished(folder).peak_memory_mib["process"]
        disk = sum(file.stat().st_size for file in folder.glob("*") if file.suffix in {".ckpt", ".pth", ".safetensors"})
        about = one.seconds
        table[one.stage.title] = {
            "estimated, s": about and about.middle,
            "from": about and about.low,
            "to": about and about.high,
            "measured, s": seconds,
            "time, estimated / measured": about and about.middle / seconds,
            "memory, estimated / measured": one.memory_mib["process"] / memory if one.memory_mib else None,
            "disk, estimated / measured": one.disk_bytes / disk if one.disk_bytes and disk else None,
        }
        print(
            one.stage.title,
            {name: value and round(value, 2) for name, value in table[one.stage.title].items()},
            flush=True,
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description="Compare estimates with runs.")
    parser.add_argument("--data-root", nargs="+", default=[], metavar="DIR", help="as bench run has it")
    parser.add_argument("--quick", action="store_true", help="profile smoke on rendered scenes: whether all of it runs")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if not options.data_root:
            render(place / "rendered")
        words = options.data_root or [str(place / "rendered")]
        grid = together(planned(words, place, options.quick))
        machine = this_machine()
        load = os.getloadavg()[0]
        timing = partial(probe, roots=grid.roots, machine=machine, work_dir=grid.work_dir)
        estimated = estimate(grid, 1, machine, [], {}, timing)
        print("\n".join(estimated.lines()), flush=True)
        table = rows(estimated, grid)
    counted = {
        name: row for name, row in table.items() if row["estimated, s"] and (row["measured, s"] or 0) >= LEAST_SECONDS
    }
    off = sorted(abs(100 * ((row["time, estimated / measured"] or 0) - 1)) for row in counted.values())
    within = sum(value <= GOAL for value in off)
    measurement = Figures(
        benchmark="estimates",
        title="Estimates before a run against the runs",
        notes=[
            f"Of {len(off)} stages that took {LEAST_SECONDS:.0f} s or more, {within} were within {GOAL:.0f} percent.",
            f"Load of the machine as it began: {load:.1f} processes on {machine.cores} cores.",
        ],
        taken=taken(),
        checks=[
            Check(
                what=f"stages whose time was estimated within {GOAL:.0f} percent", value=within, goal=6, unit="stages"
            )
        ],
        figures=table,
    )
    save(measurement, options.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
