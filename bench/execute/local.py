"""Walk a grid on this machine: each stage in its own process, so that a crash stays local."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from bench.allocator import started_with
from bench.config.tasks import stage_kind
from bench.errors import BadInput, Interrupted, MoreToDo, StageFailed, writing_to
from bench.execute.grid import Grid
from bench.execute.grid_place import able_to_run, grid_line, placed
from bench.execute.jobs.cancelling import is_cancelled
from bench.execute.jobs.durations import Durations, durations_in
from bench.execute.jobs.endings import note_ending, why_not
from bench.execute.jobs.local import note_jobs
from bench.execute.parent import ending_with_this
from bench.execute.stage_file import write_stage
from bench.execute.stage_log import LOG, near
from bench.execute.stage_server import PATIENCE_SECONDS, ForkedStage, StageServer, can_fork
from bench.execute.stopping import stoppable
from bench.import_path import command
from bench.machine import WITHIN_GRID
from bench.plan import Stage
from bench.printable import is_drawn_on, over_bars, printable
from bench.trackers.choice import check as check_trackers

OVER = MoreToDo.exit_code
LEAST_SECONDS = 5.0  # that must be left for another stage to start
POLL_SECONDS = 0.1  # between two looks at the clock

Process = subprocess.Popen[bytes] | ForkedStage
Start = Callable[[Path, int], Process]  # of a stage's folder and the number of GPUs

clock = time.monotonic  # seconds; what `until` is measured by


def say(words: str) -> None:
    """Print lines. That nobody reads any more, or that the disk is full, must not end what trains."""
    with contextlib.suppress(OSError):
        print(over_bars(sys.stdout) + "\n".join(map(printable, words.split("\n"))), flush=True)


def run_grid(
    grid: Grid, gpus: int = 1, unreadable: Literal["fail", "skip"] = "fail", until: float | None = None
) -> None:
    """Run every stage that is to do, in order; stages that do not hang on a failed one still run.

    `until`, by `clock`, is when the stage at hand is stopped as by Ctrl-C, and no further one starts.

    Raises StageFailed (or BadInput, if only bad input was met) at the end, Interrupted on Ctrl-C or SIGTERM, and
    MoreToDo when the time was over before all was done.
    """
    to_do, folders = prepare(grid, unreadable)
    note_jobs(os.getpid(), [folders[stage.fingerprint] for stage in to_do])
    with _starter(to_do) as start:
        failed = _walk(to_do, folders, gpus, until, start)
    report(to_do, failed)


def prepare(grid: Grid, unreadable: Literal["fail", "skip"]) -> tuple[list[Stage], dict[str, Path]]:
    """Say what is recorded, write the files of the stages that are to do, and return these and {fingerprint: folder}.

    Raises BadInput for an allocator or a tracker that cannot be had, before anything runs.
    """
    started_with(os.environ)
    check_trackers(os.environ)
    to_do = grid.to_do()
    for stage in grid.stages:
        if grid.states[stage.fingerprint] == "recorded":
            print(f"skipped  {stage.title}: recorded already", flush=True)
    with writing_to(grid.work_dir, "--work-dir"):
        folders = {
            stage.fingerprint: write_stage(
                stage,
                grid.work_dir,
                grid.roots,
                grid.results_dir,
                unreadable,
                grid.code.used(stage),
                grid.code.kept(stage),
            )
            for stage in to_do
        }
        grid.code.write_tables(to_do, grid.work_dir)
    return to_do, folders


def report(to_do: Sequence[Stage], failed: Mapping[str, int]) -> None:
    """Raise StageFailed (or BadInput, if only bad input was met) if a stage failed; `failed` has exit codes."""
    if failed:
        names = ", ".join(f"{stage.title}" for stage in to_do if stage.fingerprint in failed)
        message = f"{len(failed)} of {len(to_do)} stages did not finish: {names}."
        raise BadInput(message) if set(failed.values()) == {BadInput.exit_code} else StageFailed(message)


def _walk(
    to_do: Sequence[Stage], folders: Mapping[str, Path], gpus: int, until: float | None, start: Start
) -> dict[str, int]:
    """Run stages in order, and return the exit codes of those that failed by their fingerprints."""
    failed: dict[str, int] = {}  # fingerprint -> exit code
    known = durations_in(folders[to_do[0].fingerprint].parent.parent) if to_do else Durations()
    for number, stage in enumerate(to_do, 1):
        folder = folders[stage.fingerprint]
        title = f"[{number}/{len(to_do)}] {stage.title}"
        if (why := why_not(stage, folder, failed)) is not None:
            say(printable(f"{title}: not run, {why.reason}"))
            failed[stage.fingerprint] = why.code
            continue
        if until is not None and until - clock() < LEAST_SECONDS:
            raise MoreToDo(f"The time is over before {stage.title}.")
        say(title)
        after = [folders[each.fingerprint] for each in able_to_run(to_do[number:], failed)]
        with placed(folder, number, len(to_do), known, after):
            code = run_folder(folder, gpus, until, start)
        if code == OVER:
            raise MoreToDo(f"The time is over; {stage.title} goes on from its last checkpoint.")
        if code == Interrupted.exit_code and not is_cancelled(folder):
            raise Interrupted(f"{stage.title} was interrupted; its last checkpoint stays.")
        if code:
            words = note_ending(stage, folder, code)
            say(printable(f"{title}: {words} (log: {near(folder.absolute() / LOG)})"))
            failed[stage.fingerprint] = code
        known.learn_from(folder)
        left = [folders[each.fingerprint] for each in able_to_run(to_do[number:], failed)]
        if line := grid_line(number, len(to_do), known.sum_of(left)):
            say(line)
    return failed


def _environ() -> dict[str, str]:
    """What a stage's process is started with."""
    return ending_with_this(started_with(os.environ) | {WITHIN_GRID: "1"})


def start_fresh(folder: Path, gpus: int) -> subprocess.Popen[bytes]:
    """Start `bench stage` as a fresh process, in a session of its own."""
    words = command("stage", str(folder), "--gpus", str(gpus))
    return subprocess.Popen(words, start_new_session=True, env=_environ())


@contextmanager
def _starter(stages: Sequence[Stage]) -> Iterator[Start]:
    """Yield what starts these stages: a server that has imported what they need, where that is possible and pays."""
    if len(stages) < 2 or not can_fork():
        yield start_fresh
        return
    kinds = {stage_kind(stage.kind, stage.config).run.partition(":") for stage in stages}
    modules = sorted(module for module, colon, _ in kinds if colon and module.startswith("bench."))
    with StageServer(modules, _environ()) as server:
        yield server.start


def run_folder(folder: Path, gpus: int, until: float | None = None, start: Start = start_fresh) -> int:
    """Run a stage in a process and return its exit code, or OVER if it was stopped because the time was over.

    A signal that asks us to stop is passed on, and its end awaited.
    """
    process = None
    with stoppable():
        try:
            process = start(folder, gpus)
            while until is None or clock() < until:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(None if until is None else POLL_SECONDS)
                    # Python ends by the signal itself where Ctrl-C came while a module was being imported.
                    return Interrupted.exit_code if code == -signal.SIGINT else code
            return OVER if _stop(process) else 0  # it may have ended by itself meanwhile
        except KeyboardInterrupt:
            if sys.stdout.isatty() and not is_drawn_on(sys.stdout):
                say("")  # go below the ^C
            say(
                f"Stopping {folder.name}, in at most {PATIENCE_SECONDS} s; its last checkpoint stays. Ctrl-C "
                "again ends it at once."
            )
            if process is not None:
                _stop(process)
            return Interrupted.exit_code


def _stop(process: Process) -> int:
    """Ask a stage to stop, wait for its last checkpoint, and return its exit code."""
    # The stage has a process group of its own, so that Ctrl-C reaches it once, from here.
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, signal.SIGINT)
    try:
        return process.wait(PATIENCE_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()
