"""What a stage printed, and what it goes on to print."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.errors import BadInput
from bench.execute.jobs.executor import ASK_SECONDS, State, states_of
from bench.execute.jobs.status import States, rows
from bench.execute.jobs.submission import Submission, read_submission

LOOK_SECONDS = 0.5  # between two looks for more
PIECE = 1 << 20  # bytes read at a time


def show_log(folder: Path, work_dir: Path, follow: bool) -> None:
    """Print the log of the stage in `folder`; with `follow` until the stage neither runs nor waits.

    Raises BadInput where it has printed nothing yet and is not followed.
    """
    job = read_submission(folder)
    log = folder / "log.txt" if job is None else job.log_of(folder)
    if not log.is_file() and not follow:
        row = next((row for row in rows(work_dir) if _same(row.folder, folder)), None)
        state = "" if row is None else f" (it is {row.state})"
        raise BadInput(f"{folder} has no log yet{state}; bench status says how it gets on.")
    at, states = 0, _sparing(job)
    while True:
        ended = not follow or not _goes_on(folder, work_dir, states)  # asked before the last look: nothing is left out
        at = _print_from(log, at)
        if ended:
            return
        time.sleep(LOOK_SECONDS)


def _same(one: Path, other: Path) -> bool:
    return one.absolute() == other.absolute()


def _goes_on(folder: Path, work_dir: Path, states: States) -> bool:
    return any(row.state in {"running", "waiting"} for row in rows(work_dir, states) if _same(row.folder, folder))


def _sparing(job: Submission | None) -> States:
    """Return what says the state of one job, and asks a cluster for it every ASK_SECONDS at most."""
    known, asked_at = dict[Submission, State](), -math.inf

    def states(jobs: Iterable[Submission]) -> Mapping[Submission, State]:
        nonlocal known, asked_at
        now = time.monotonic()
        if job is not None and job in jobs and (job.executor == "local" or now - asked_at >= ASK_SECONDS):
            known, asked_at = states_of([job]), now
        return known

    return states


def _print_from(log: Path, at: int) -> int:
    """Print a file from a place on, and return where it ends. One that is shorter by now is printed anew."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(at if size >= at else 0)
            while piece := file.read(PIECE):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return file.tell()
    except FileNotFoundError:
        return at
