"""Walk a grid on this machine: each stage as a process of its own, so that a crash stays local."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Literal, NoReturn

from bench.allocator import started_with
from bench.errors import BadInput, Interrupted, StageFailed
from bench.execute.grid import Grid
from bench.execute.stage import EXIT_INTERRUPTED
from bench.execute.stage_file import write_stage

PATIENCE_SECONDS = 120  # for a stage to write its last checkpoint after Ctrl-C


def run_grid(grid: Grid, gpus: int = 1, unreadable: Literal["fail", "skip"] = "fail") -> None:
    """Run every stage that is to do, in order; stages that do not hang on a failed one still run.

    Raises StageFailed (or BadInput, if only bad input was met) at the end, and Interrupted on Ctrl-C or SIGTERM.
    """
    started_with(os.environ)  # an allocator that cannot be had is said before anything runs
    to_do = grid.to_do()
    for stage in grid.stages:
        if grid.states[stage.fingerprint] == "recorded":
            print(f"skipped  {stage.kind} {stage.label}: recorded already", flush=True)
    folders = {
        stage.fingerprint: write_stage(stage, grid.work_dir, grid.roots, grid.results_dir, unreadable)
        for stage in to_do
    }
    failed: dict[str, int] = {}  # fingerprint -> exit code
    for number, stage in enumerate(to_do, 1):
        broken = next((parent for parent in stage.parents.values() if parent.fingerprint in failed), None)
        title = f"[{number}/{len(to_do)}] {stage.kind} {stage.label}"
        if broken is not None:
            print(f"{title}: not run, {broken.kind} {broken.label} failed", flush=True)
            failed[stage.fingerprint] = failed[broken.fingerprint]
            continue
        print(title, flush=True)
        code = _run(folders[stage.fingerprint], gpus)
        if code == EXIT_INTERRUPTED:
            raise Interrupted(f"{stage.kind} {stage.label} was interrupted; its last checkpoint stays.")
        if code:
            failed[stage.fingerprint] = code
    if failed:
        names = ", ".join(f"{stage.kind} {stage.label}" for stage in to_do if stage.fingerprint in failed)
        message = f"{len(failed)} of {len(to_do)} stages did not finish: {names}."
        raise BadInput(message) if set(failed.values()) == {2} else StageFailed(message)


def _run(folder: Path, gpus: int) -> int:
    """Run `bench stage` in a process; a signal that asks us to stop is passed on, and its end awaited."""
    command = [sys.executable, "-m", "bench", "stage", str(folder), "--gpus", str(gpus)]
    process = subprocess.Popen(command, start_new_session=True, env=started_with(os.environ))

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        return process.wait()
    except KeyboardInterrupt:
        # The stage has a session of its own, so that it hears of Ctrl-C once, from here.
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(PATIENCE_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
