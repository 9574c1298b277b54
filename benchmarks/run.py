"""`make bench`: all comparisons on the CPU, one after the other, then the page docs/performance.md.

    python benchmarks/run.py [--only NAME …] [--images DIR] [--quick]     # NAME: an area or a comparison
    python benchmarks/run.py --device cuda [--only NAME …]                # on a GPU
    python benchmarks/run.py --device cpu --quick                         # all of both on tiny sizes

Each area ends within its time, whatever the machine: what did not fit is left out, and said so here and on the page.
A contender that fails is told of at the end (exit code 1), and the others still run. The figures of `--quick` mean
nothing and stay in runs/benchmarks/quick. What is written goes to the folder of this machine's class (`bench doctor`
names it); results of other classes stay as they are.

For a GPU on a machine without network: install the wheels of requirements.lock and of lightly with its dependencies by
`pip install --no-index --no-deps --find-links DIR`; BENCHMARKS_PEERS names the environment that has lightly.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import page
from comparisons import COMPARISONS, Comparison, aimed
from emulation import emulates_bf16, without_bf16
from engine import Contender, measure
from measurements import ROOT, Check, Compared, Measured, save, taken

RESULTS = ROOT / "results" / "benchmarks"
SCRATCH = ROOT / "runs" / "benchmarks"


def chosen(only: Sequence[str], device: str, quick: bool, table: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons to run. Raises ValueError for a name that is neither an area nor a comparison."""
    fitting = [one for one in table if one.device == device or (quick and device == "cpu")]
    names = {name: None for one in fitting for name in (one.area, one.name)}
    for name in only:
        if name not in names:
            raise ValueError(f"there is no area or comparison {name!r}; --only takes {', '.join(names)}")
    return [one for one in fitting if not only or {one.area, one.name} & set(only)]


def filled(value: Any, prepared: Mapping[str, Any]) -> Any:
    """Return a value with what was prepared in the place of "{folder}" and the like."""
    if isinstance(value, Mapping):
        return {key: filled(one, prepared) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [filled(one, prepared) for one in value]
    return value.format_map(prepared) if isinstance(value, str) and value.startswith("{") else value


def ready(comparison: Comparison, prepared: Mapping[str, Any], device: str, quick: bool) -> list[Contender]:
    """Return the contenders of a comparison with all their arguments."""
    given = {"device": device} if comparison.device == "cuda" else {}
    return [
        dataclasses.replace(
            one,
            arguments=filled(
                {**comparison.common, **one.arguments, **(comparison.quick if quick else {}), **given}, prepared
            ),
            threads=comparison.threads if one.threads is None else one.threads,
            warmup=comparison.warmup if one.warmup is None else one.warmup,
        )
        for one in comparison.contenders
        if one.quick or not quick
    ]


def run(
    comparison: Comparison, deadline: float, device: str, quick: bool, images: Path | None, results: Path
) -> tuple[list[str], list[str]]:
    """Measure one comparison and write its file; return what was left out, and what failed."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    if emulates_bf16(device):
        comparison = without_bf16(comparison)
    rounds = 1 if quick else comparison.rounds
    with tempfile.TemporaryDirectory(dir=SCRATCH) as place:
        prepared, notes = {}, []
        if comparison.prepare is not None:
            module, _, function = comparison.prepare.partition(":")
            prepared, notes = getattr(importlib.import_module(module), function)(quick, images, Path(place))
        contenders = ready(comparison, prepared, device, quick)
        measured, left_out = measure(contenders, rounds, deadline=deadline, resident=comparison.resident)
    problems = [f"{name}: {reason}" for name, reason in left_out.items()]
    failed = [f"{comparison.name}, {name}: {reason}" for name, reason in left_out.items() if reason.fault]
    if not measured:
        return problems, failed
    done = len(next(iter(measured.values())).samples)
    if done < rounds:
        problems.append(f"{rounds - done} of {rounds} rounds: no time was left")
    # Errors name files of this machine: they are printed, and stay out of the results.
    notes += [f"Left out: {name}: {'it failed' if reason.fault else reason}." for name, reason in left_out.items()]
    notes += [f"Left out: {rounds - done} of {rounds} rounds."] if done < rounds else []
    save(summary(comparison, measured, notes, device, quick), results)
    return problems, failed


def summary(
    comparison: Comparison, measured: dict[str, Measured], notes: Sequence[str], device: str, quick: bool
) -> Compared:
    """Return what the file of a comparison holds, and print its rates."""
    common = {**comparison.common, **(comparison.quick if quick else {})}
    aims = [] if quick else [one for one in comparison.contenders if one.name in measured]
    baseline = next(iter(measured))
    same = baseline == comparison.contenders[0].name  # goals are ratios to the baseline that was meant
    compared = Compared(
        benchmark=comparison.name,
        title=comparison.question.format_map(common),
        notes=[f"A sample: {comparison.sample.format_map(common)}.", *comparison.notes, *notes],
        taken=taken(),
        device=about(device) if comparison.device == "cuda" else {},
        unit=comparison.unit,
        baseline=baseline,
        contenders=measured,
    )
    machine = compared.machine
    goals = {one.name: aimed(one.goal, machine) for one in aims if same}
    goals_best_peer = {one.name: aimed(one.goal_best_peer, machine) for one in aims}
    compared.goals = {name: goal for name, goal in goals.items() if goal}
    compared.goals_best_peer = {name: goal for name, goal in goals_best_peer.items() if goal}
    rates = compared.rates()
    print(f"\n{compared.title}")
    for name in rates:
        ratio = (rates[name] / rates[compared.baseline]).median()
        print(f"  {name:<44} {rates[name].median():10.4g} {compared.unit}/s  x{ratio:.2f}")
    for goal in () if quick else comparison.goals:
        if (wanted := aimed(goal.goal, machine)) is None:
            continue
        with contextlib.suppress(KeyError):  # a contender of it was left out
            value = statistics.median(goal.value(row) for row in rates.to_dict("records"))
            # Noise may leave less than nothing of a small difference.
            about_goal = {"what": goal.what, "goal": wanted, "unit": goal.unit, "at_most": goal.at_most}
            compared.checks.append(Check(value=max(0.0, value), **about_goal))
    return compared


def about(device: str) -> dict[str, str]:
    """Return the GPU's name, its driver and CUDA."""
    import torch

    if device == "cpu":
        return {"device": "cpu"}
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        driver = "unknown"
    return {"device": torch.cuda.get_device_name(), "driver": driver, "CUDA": str(torch.version.cuda)}


def run_all(
    comparisons: Iterable[Comparison], device: str, quick: bool, images: Path | None, results: Path
) -> list[str]:
    """Run comparisons, area by area; print how each went, and return what failed."""
    lines, failures = [], []
    for area, members in itertools.groupby(comparisons, lambda one: one.area):
        deadline = time.monotonic()
        for comparison in members:
            deadline += comparison.seconds  # what another of the area has left is added
            print(f"\n{area}: {comparison.name}, {comparison.seconds:.0f} s at most", flush=True)
            start = time.monotonic()
            try:
                problems, failed = run(comparison, deadline, device, quick, images, results)
            except Exception as error:  # must not take the others along
                traceback.print_exc()
                problems, failed = ["all of it"], [f"{comparison.name}: {type(error).__name__}: {error}"]
            failures += failed
            words = f"left out: {'; '.join(problems)}" if problems else "done"
            lines.append(f"{comparison.name:<28} {time.monotonic() - start:6.0f} s  {words}")
    print("\n" + "\n".join(lines))
    return failures


def interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    """Take SIGTERM like Ctrl-C, so that contenders end, too."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None, table: Sequence[Comparison] = COMPARISONS) -> int:
    """Return the exit code: 0, 1 when something failed, or 2 for bad input."""
    parser = argparse.ArgumentParser(description="Run the comparisons and derive docs/performance.md from them.")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="areas or comparisons")
    parser.add_argument("--images", type=Path, metavar="DIR", help="photographs (JPEG) instead of rendered images")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: those that are for a GPU")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether all of it runs")
    options = parser.parse_args(arguments)
    try:
        comparisons = chosen(options.only, options.device, options.quick, table)
        if options.images is not None and not any(options.images.rglob("*.[jJ][pP]*[gG]")):
            raise ValueError(f"there are no JPEG files below {options.images}; give --images a folder of photographs")
        if options.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                raise ValueError("there is no GPU that torch can use; run it on a machine with one, or give --quick")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    os.environ.pop("OMP_NUM_THREADS", None)  # comparisons say how many threads there are
    signal.signal(signal.SIGTERM, interrupted)
    results, docs = (SCRATCH / "quick", SCRATCH / "quick") if options.quick else (RESULTS, page.DOCS)
    failures = run_all(comparisons, options.device, options.quick, options.images, results)
    if page.main(["--results", str(results), "--docs", str(docs)]):
        failures.append("the page")
    if failures:
        print(f"Failed: {'; '.join(failures)}.", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
