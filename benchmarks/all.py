"""`make bench`: every CPU benchmark in turn, each a process of its own, then the page docs/performance.md.

    python benchmarks/all.py [--only NAME …] [--images DIR] [--quick]

A benchmark that fails, or goes on for too long, is told of at the end (exit code 1), and the others still run.
`--quick` tries all of them on tiny sizes; its figures mean nothing and stay in runs/benchmarks/quick.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from interleave import PATIENCE_SECONDS, ROOT, give_up
from report import QUICK, RESULTS

# Benchmark -> the seconds that it may take on two quiet cores.
BUDGETS = {
    "views": 80,
    "small_images": 240,
    "pack": 60,
    "loader": 50,
    "step": 240,
    "ranks": 60,
    "frozen": 160,
    "knn": 80,
    "segmentation": 330,
    "harness": 200,
}
QUICK_BUDGET = 60
TAKE_IMAGES = frozenset({"views", "pack", "loader", "step", "frozen"})
PATIENCE = 1.5  # budgets that pass before a benchmark is ended: a slower machine shall have its results, too


@dataclass(frozen=True)
class Outcome:
    """How one benchmark went."""

    name: str
    seconds: float
    budget: float
    failure: str = ""

    def __str__(self) -> str:
        late = " (over its budget)" if self.seconds > self.budget else ""
        return f"{self.name:<14} {self.seconds:6.0f} s of {self.budget:.0f}{late}  {self.failure or 'done'}"


def run(name: str, words: Sequence[str], budget: float, environ: dict[str, str], folder: Path) -> Outcome:
    """Run one benchmark; end it, with all processes that it started, when its time has run out for good."""
    start = time.perf_counter()
    file = folder / f"{name}.py"
    if not file.is_file():
        return Outcome(name, 0.0, budget, f"failed: there is no {file}")
    # A session of its own, so that its contenders end with it.
    process = subprocess.Popen([sys.executable, str(file), *words], env=environ, start_new_session=True)
    failure = ""
    try:
        code = process.wait(budget * PATIENCE)
        failure = f"failed with exit code {code}; its errors are above" if code else ""
    except subprocess.TimeoutExpired:
        failure = f"failed: ended after {budget * PATIENCE:.0f} s"
    finally:
        end(process)
    return Outcome(name, time.perf_counter() - start, budget, failure)


def end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a benchmark's session: politely first, since torchrun passes that on to its ranks."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and alive(process):
            time.sleep(0.05)
    process.wait()


def alive(process: subprocess.Popen[bytes]) -> bool:
    """Whether the session of a process has any process left."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def stop(_number: int, _frame: FrameType | None) -> NoReturn:
    """Take SIGTERM like Ctrl-C, so that the benchmark that is running ends, too."""
    raise KeyboardInterrupt


def environment(quick: bool) -> dict[str, str]:
    """Return what benchmarks get of this process's environment.

    Thread counts are theirs to choose; threads that spin at barriers would rob whoever shares the machine.
    """
    kept = {key: value for key, value in os.environ.items() if key not in {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}}
    kept |= {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    return kept | ({"BENCHMARKS_FOLDER": str(QUICK)} if quick else {})


def main(arguments: Sequence[str] | None = None, folder: Path = ROOT / "benchmarks") -> int:
    """Return the exit code: 0, or 1 when a benchmark or the page failed."""
    parser = argparse.ArgumentParser(description="Run the CPU benchmarks and derive docs/performance.md from them.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"of {', '.join(BUDGETS)}")
    parser.add_argument("--images", type=Path, metavar="DIR", help="photographs (JPEG) instead of rendered images")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether all of it runs")
    options = parser.parse_args(arguments)
    names = options.only or list(BUDGETS)
    for name in names:
        if name not in BUDGETS:
            give_up(f"there is no benchmark {name!r}; --only takes {', '.join(BUDGETS)}")
    if options.images is not None and not options.images.is_dir():
        give_up(f"{options.images} is no folder; give --images a folder of JPEG files")

    signal.signal(signal.SIGTERM, stop)
    environ = environment(options.quick)
    outcomes = []
    for number, name in enumerate(names, 1):
        budget = QUICK_BUDGET if options.quick else BUDGETS[name]
        words = ["--quick"] if options.quick else []
        if options.images is not None and name in TAKE_IMAGES:
            words += ["--images", str(options.images.resolve())]
        print(f"\n[{number}/{len(names)}] {name} (about {budget} s at most)", flush=True)
        outcomes.append(run(name, words, budget, environ, folder))

    words = ["--results", str(QUICK), "--docs", str(QUICK)] if options.quick else ["--results", str(RESULTS)]
    code = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "render.py"), *words], env=environ).returncode
    print("\n" + "\n".join(map(str, outcomes)))
    print(f"{'all':<14} {sum(outcome.seconds for outcome in outcomes):6.0f} s")
    failed = [outcome.name for outcome in outcomes if outcome.failure] + (["the page"] if code else [])
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
