"""What the harness itself costs: its commands, planning, reruns, tables, and checkpoints while training goes on.

    python benchmarks/harness.py [--rounds 5] [--quick]

Writes harness_commands.json (seconds of whole processes, interleaved), harness_starts.json (stages up to their work),
harness_checkpoint.json (a window of training steps with one save in it), harness_tables.json (tables by records),
harness_plans.json (plans by stages).
"""

from __future__ import annotations

import argparse
import atexit
import hashlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import report
from interleave import ROOT, Contender, Measured, measure

RECIPES = ("coco", "coco_two_loss", "random_init", "imagenet_0", "imagenet_1")
TASKS = ("cityscapes_pspnet", "imagenet_knn", "imagenet_linear", "imagenet_linear_sweep")
STAGES_A_SEED = len(RECIPES) * (2 + len(TASKS))
RECORDS = (10, 100, 1_000, 10_000, 30_000, 100_000)
INTERVAL = 60.0  # seconds between two checkpoints


# ---------------------------------------------------------------------------------------------- contenders


def command(words: Sequence[str], cwd: str) -> Callable[[], float]:
    """A sample: one whole process of this Python."""

    def sample() -> float:
        subprocess.run([sys.executable, *words], cwd=cwd, stdout=subprocess.DEVNULL, check=True)
        return 1

    return sample


def training(save: str, batch: int, size: int, steps: int) -> Callable[[], float]:
    """A sample: `steps` BYOL steps of a ResNet-50 after a save that is `none`, `inline` or `background`."""
    import torch

    from bench.config.load import load_recipe
    from bench.data.views import Batch
    from bench.nn.encoder import build_encoder
    from bench.objectives import build
    from bench.train.distributed import Ranks
    from bench.train.optim import build_optimizer
    from bench.train.state import State

    recipe = load_recipe("coco")
    objective = build(recipe.objective, build_encoder("resnet50", 0), 0).to(memory_format=torch.channels_last).train()
    assert recipe.optimizer is not None
    optimizer = build_optimizer(objective.param_groups(), recipe.optimizer, 1)
    for group in optimizer.param_groups:
        group["lr"] = 1e-4  # noise is no task: it only must not diverge
    views = tuple(torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last) for _ in range(2))
    images = Batch(views, None, None, torch.arange(batch), 0)
    folder = Path(tempfile.mkdtemp(prefix="checkpoint-", dir=ROOT / "runs"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    state = State(folder, {}, objective, optimizer, Ranks(), background=save == "background")

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = objective(images)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        objective.after_step(0.5)

    step()

    def sample() -> float:
        if save != "none":
            state.save()
        for _ in range(steps):
            step()
        state.settle()  # if the window was too short for the writing, its rest counts, too
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return steps

    return sample


# ------------------------------------------------------------------------------------------ synthetic grids


def grid_words(data: Path, work: Path, seeds: int) -> list[str]:
    """The words of a command line for a grid with 30 stages a seed."""
    words = ["--pretrain", *RECIPES, "--downstream", *TASKS, "--profile", "smoke", "--data-root", str(data)]
    words += ["--work-dir", str(work), "--results-dir", str(work / "results")]
    return [*words, "--seeds", *map(str, range(seeds))]


def finish_grid(data: Path, work: Path, seeds: int) -> int:
    """Finish a grid without running it, by the files that its stages would leave; return its cells."""
    from bench.config.recipe import Recipe
    from bench.execute.grid import Request, plan_grid
    from bench.execute.stage_file import Done, write_done, write_stage
    from bench.plan import recorded_settings
    from bench.record import Fingerprints, Record, environment, write

    grid = plan_grid(
        Request(
            RECIPES, TASKS, range(seeds), "smoke", data_root=[str(data)], work_dir=work, results_dir=work / "results"
        ),
        act=True,
    )
    here, cells = environment(), 0
    for stage in grid.stages:
        folder = write_stage(stage, work, grid.roots, grid.results_dir, "fail")
        for name in stage.outputs:
            (folder / name).touch()
        metrics: dict[str, Any] = {"top1_percent": 50 + _noise(stage.fingerprint)}
        if stage.kind == "segmentation":
            metrics = {name: 50 + _noise(stage.fingerprint + name) for name in ("miou_percent", "aacc_percent")}
        write_done(folder, Done(fingerprint=stage.fingerprint, metrics=metrics, wall_seconds=1.0, finished="-"))
        if isinstance(stage.config, Recipe) or not stage.is_task:
            continue
        cells += 1
        record = Record(
            pretrain=stage.recipe.name,
            pretrain_set=stage.recipe.dataset,
            arch=stage.recipe.arch,
            task=stage.config.name,
            kind=stage.kind,
            dataset=stage.config.dataset,
            profile="smoke",
            seed=stage.seed,
            metrics=metrics,
            fingerprints=Fingerprints(
                stage=stage.fingerprint, recipe=stage.recipe_fingerprint, protocol=_hash(stage.config.name)[:12]
            ),
            data=dict(stage.data),
            settings={"pretrain": recorded_settings(stage.recipe), "downstream": recorded_settings(stage.config)},
            **here,
        )
        write(record, grid.results_dir / "records")
    return cells


def write_records(folder: Path, count: int, there: int = 0) -> None:
    """Write records below `folder`, where `there` are, until it has `count`.

    They are rows × four tasks × five seeds, so that rows grow with the records.
    """
    from bench.record import Fingerprints, Record, environment, write

    here, kinds = environment(), {"imagenet_knn": "knn", "a": "linear", "b": "linear", "c": "linear"}
    for number in range(there, count):
        row, cell = divmod(number, 20)
        task, seed = list(kinds)[cell // 5], cell % 5
        record = Record(
            pretrain=f"recipe_{row}" if row else "random_init",
            pretrain_set="coco",
            arch="resnet50",
            task=task,
            kind=kinds[task],
            dataset="imagenet",
            profile="mini",
            seed=seed,
            metrics={"top1_percent": 50 + _noise(str(number)), "top5_percent": 75.0, "images": 1000},
            fingerprints=Fingerprints(
                stage=_hash(f"stage {number}"), recipe=_hash(f"{row}"), protocol=_hash(task)[:12]
            ),
            data={"imagenet": "0" * 16},
            settings={"pretrain": {"epochs": 200}, "downstream": {"epochs": 100}},
            wall_seconds={"pretrain": 1.0},
            **here,
        )
        write(record, folder / "records")


def _hash(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


def _noise(word: str) -> float:
    """A number from 0 to 1 that depends on the word alone."""
    return int(_hash(word)[:8], 16) / 2**32


# --------------------------------------------------------------------------------------------- measurements


def commands(place: Path, data: Path, rounds: int) -> None:
    """Whole processes, in turn."""
    cells = finish_grid(data, place / "finished", 5)
    seeds = -(-1000 // STAGES_A_SEED)
    words = {
        "python -c pass": ["-c", "pass"],
        "bench --help": ["-m", "bench", "--help"],
        "bench list": ["-m", "bench", "list"],
        "bench show coco": ["-m", "bench", "show", "coco"],
        "bench table --check": ["-m", "bench", "table", "--check"],
        f"bench plan, {seeds * STAGES_A_SEED} stages": ["-m", "bench", "plan", *grid_words(data, place / "new", seeds)],
        f"bench run, {cells} finished cells": ["-m", "bench", "run", *grid_words(data, place / "finished", 5)],
    }
    contenders = [Contender(k, "harness:command", {"words": v, "cwd": str(ROOT)}) for k, v in words.items()]
    measured = measure(contenders, rounds)
    goals = {"bench --help": 0.3, contenders[-2].name: 1.0, contenders[-1].name: 2.0}
    found = {name: statistics.median(s.seconds for s in one.samples) for name, one in measured.items()}
    checks: list[dict[str, Any]] = [
        {"what": name, "found": found[name], "goal": goal, "unit": "s", "at_most": True} for name, goal in goals.items()
    ]
    report.write(
        "harness_commands",
        "Commands of bench, whole processes",
        measured,
        unit="commands",
        baseline="python -c pass",
        notes=["A sample is a process from its start to its end."],
        extra={"checks": checks},
    )
    for name, seconds in found.items():
        print(f"  {name:<44} {seconds:.3f} s")


# Runs a stage up to the first line of its own work, and leaves.
UP_TO_WORK = """
import importlib, os, sys
from pathlib import Path
load = importlib.import_module
def loaded(name, *words, **more):
    module = load(name, *words, **more)
    if name.startswith("bench.stages."):
        module.run = lambda job: os._exit(0)
    return module
importlib.import_module = loaded
from bench.execute.stage import run_stage
run_stage(Path(sys.argv[1]))
sys.exit("the stage did not get to its work")
"""


def starts(place: Path, data: Path, rounds: int) -> None:
    """From the start of a stage's process to the first line of its work, against the imports of that stage alone."""
    contenders = []
    kinds = ("pretrain", "segmentation", "knn")
    for kind in kinds:
        work = place / f"start-{kind}"  # one each: what comes later needs its parents done
        finish_grid(data, work, 1)
        folder = min((work / kind).iterdir())
        (folder / "done.json").unlink()
        words = {
            f"imports of {kind}": ["-c", f"import bench.stages.{kind}"],
            f"start of {kind}": ["-c", UP_TO_WORK, str(folder)],
        }
        given = {name: {"words": v, "cwd": str(ROOT)} for name, v in words.items()}
        contenders += [Contender(name, "harness:command", one, warmup=0) for name, one in given.items()]
    measured = measure(contenders, rounds)
    checks: list[dict[str, Any]] = []
    for kind in kinds:
        pairs = zip(measured[f"start of {kind}"].samples, measured[f"imports of {kind}"].samples, strict=True)
        ratio = statistics.median(a.seconds / b.seconds for a, b in pairs)
        checks.append(
            {
                "what": f"start of {kind} against its imports",
                "found": ratio,
                "goal": 1.2,
                "unit": "times",
                "at_most": True,
            }
        )
        print(f"  start of {kind}: x{ratio:.2f} of its imports")
    report.write(
        "harness_starts",
        "Start of a stage, up to the first line of its work",
        measured,
        unit="starts",
        baseline=f"imports of {kinds[0]}",
        notes=["Whole processes. `imports` imports the module of the stage's kind and nothing else."],
        extra={"checks": checks},
    )


def checkpoints(rounds: int, quick: bool) -> None:
    """Windows of training with a save in them, in turn, against windows without."""
    given = {"batch": 2 if quick else 4, "size": 64 if quick else 128, "steps": 2 if quick else 4}
    about = {
        "none": "steps without a save",
        "inline": "the save writes before it returns",
        "background": "the save copies, a thread writes",
    }
    (ROOT / "runs").mkdir(exist_ok=True)
    contenders = [Contender(k, "harness:training", {"save": k, **given}, v, warmup=1) for k, v in about.items()]
    measured = measure(contenders, rounds)
    shares = {name: _share(measured[name], measured["none"]) for name in ("inline", "background")}
    report.write(
        "harness_checkpoint",
        "Training windows with a checkpoint (ResNet-50 BYOL, 413 MB)",
        measured,
        unit="steps",
        baseline="none",
        notes=[
            "Stall: the seconds of a window with a save less those of the same round's window without; the share is "
            f"the median stall over {INTERVAL:.0f} s, as at one checkpoint a minute. A window waits for the disk at "
            "its end."
        ],
        extra={
            "checks": [
                {
                    "what": "share of training time that background checkpoints cost at one a minute",
                    # A window with a save can come out faster than one without, on a noisy machine.
                    "found": max(0.0, 100 * shares["background"]["share"]),
                    "goal": 1.0,
                    "unit": "%",
                    "at_most": True,
                }
            ]
        },
    )
    for name, share in shares.items():
        print(f"  {name}: {share['seconds']:.3f} s a checkpoint, {share['share']:.2%} at one a minute")


def _share(one: Measured, none: Measured) -> dict[str, float]:
    stall = statistics.median(a.seconds - b.seconds for a, b in zip(one.samples, none.samples, strict=True))
    return {"seconds": stall, "share": stall / INTERVAL}


def tables(place: Path, quick: bool, largest: int) -> None:
    """Tables by records: whole processes."""
    points: list[dict[str, Any]] = []
    folder, there = place / "records", 0
    for count in (10, 100, 1000) if quick else [n for n in RECORDS if n <= largest]:
        write_records(folder, count, there)
        there = count
        words = ["-m", "bench", "table", "--results-dir", str(folder)]
        points.append({"x": count, "samples": _times(words, 1 if count > 10_000 else 3)})
    shutil.rmtree(folder)
    notes = ["Whole processes. A table's rows grow with its records: 20 records a row (four tasks, five seeds)."]
    if (steep := _last_decade(points)) is not None:
        notes.append(steep)
    report.write_curve(
        "harness_tables", "Growth of tables with records", {"bench table": points}, x="records", notes=notes
    )


def plans(place: Path, data: Path, quick: bool) -> None:
    """Plans by stages: whole processes."""
    points: list[dict[str, Any]] = []
    for seeds in (1, 4) if quick else (1, 4, 34, 134):
        words = ["-m", "bench", "plan", *grid_words(data, place / "new", seeds)]
        points.append({"x": seeds * STAGES_A_SEED, "samples": _times(words, 1 if seeds > 100 else 3)})
    report.write_curve(
        "harness_plans",
        "Growth of plans with stages",
        {"bench plan": points},
        x="stages",
        notes=["Whole processes."],
    )


def _last_decade(points: Sequence[dict[str, Any]]) -> str | None:
    """The exponent of the last factor of ten alone: a start that is always the same flattens the whole curve."""
    heights = [(point["x"], report.height(point["samples"], "seconds")) for point in points]
    last = [point for point in heights if point[0] * 10 >= heights[-1][0]]
    fit = report.exponent(last)
    if fit is None:
        return None
    same = "Starting the process takes the same time for all sizes."
    return f"{same} From {last[0][0]:,} records on, the exponent is {fit}."


def _times(words: Sequence[str], samples: int) -> list[dict[str, float]]:
    run = command(words, str(ROOT))
    found = []
    for _ in range(samples):
        start = time.perf_counter()
        units = run()
        found.append({"seconds": time.perf_counter() - start, "units": units})
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a smoke check: little of everything")
    parser.add_argument("--largest", type=int, default=RECORDS[-1], help="records of a table")
    parser.add_argument("--only", choices=["commands", "starts", "checkpoints", "tables", "plans"])
    given = parser.parse_args(arguments)
    rounds = 1 if given.quick else given.rounds
    from bench.synthetic.render import render

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        render(place / "data")
        if given.only in {None, "commands"}:
            commands(place, place / "data", rounds)
        if given.only in {None, "starts"}:
            starts(place, place / "data", max(1, rounds - 3))
        if given.only in {None, "checkpoints"}:
            checkpoints(min(rounds, 4), given.quick)
        if given.only in {None, "tables"}:
            tables(place, given.quick, given.largest)
        if given.only in {None, "plans"}:
            plans(place, place / "data", given.quick)


if __name__ == "__main__":
    main()
