"""This machine as an executor: one process walks the grid, and stages are processes of its."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BadInput, writing_to
from bench.execute.jobs.executor import State, states_of
from bench.execute.jobs.failure import now
from bench.execute.jobs.process import alive, host, started_at
from bench.execute.jobs.submission import Submission, read_submission, write_submission
from bench.execute.stage_log import LOG, near
from bench.import_path import command

if TYPE_CHECKING:
    from bench.execute.grid import Grid
    from bench.plan import Stage

LOGS = "logs"  # in the work folder: what grids print that were detached


class LocalExecutor:
    """Runs a grid in a process that outlives the shell: the same command again, in a session of its own.

    `words` are those of the command line after `bench`, without --detach.
    """

    name = "local"
    processes = None

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words = list(words)

    def check(self) -> None:
        """Nothing is needed but this machine."""

    def submit(self, grid: Grid, folders: Mapping[str, Path], to_do: Sequence[Stage]) -> list[Submission]:
        """Start the process that walks the grid, and note it in the stages' folders."""
        if not self.words:
            raise BadInput("There is no command to go on with in the background; give bench run --detach.")
        log = grid.work_dir / LOGS / f"run-{now().replace(':', '')}-{os.getpid()}.txt"
        with writing_to(log.parent, "--work-dir"):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
        with log.open("ab") as file:
            process = subprocess.Popen(
                command(*self.words),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=os.environ | {"BENCH_PLAIN": "1"},
            )
        print(f"log: {near(log.absolute())}", flush=True)
        return note_jobs(process.pid, [folders[stage.fingerprint] for stage in to_do])

    def states(self, submissions: Sequence[Submission]) -> dict[str, State]:
        """Say of each grid whether the process that walks it is there; of another machine's nothing is known."""
        return {each.id: _state(each) for each in submissions}

    def cancel(self, submissions: Sequence[Submission]) -> None:
        """Interrupt the processes that walk these grids, as Ctrl-C would. Raises BadInput for other machines'."""
        for each in {(each.host, each.id): each for each in submissions}.values():
            interrupt(int(each.id), each.process, each.host)


def note_jobs(pid: int, folders: Sequence[Path]) -> list[Submission]:
    """Write in each stage's folder that the process `pid` of this machine walks the grid, and return what stands there.

    A job elsewhere that has not ended yet stays noted, so that it can be found and cancelled. Raises BadInput where it
    cannot be written.
    """
    job = Submission(executor="local", id=str(pid), host=host(), submitted=now(), log=LOG, process=started_at(pid))
    before = [read_submission(folder) for folder in folders]
    states = states_of(each for each in before if each is not None and each.executor != job.executor)
    noted = []
    for folder, other in zip(folders, before, strict=True):
        if other is not None and other in states and states[other].word in {"waiting", "running"}:
            noted.append(other)
            continue
        with writing_to(folder, "--work-dir"):
            write_submission(folder, job)
        noted.append(job)
    return noted


def interrupt(pid: int, started: str | None, where: str, *, group: bool = False) -> bool:
    """Interrupt a process as Ctrl-C does; returns False where it is gone. Raises BadInput where it is not ours.

    With `group`, the processes that it leads get it, too, if it leads some: the ranks of a stage.
    """
    if where != host():
        raise BadInput(f"Process {pid} runs on {where}, and this is {host()}; give the command there.")
    if not alive(pid, started):
        return False
    try:
        with contextlib.suppress(ProcessLookupError):
            if group and os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGINT)
            else:
                os.kill(pid, signal.SIGINT)
    except PermissionError as error:
        raise BadInput(f"Process {pid} belongs to another user; ask them to end it.") from error
    return True


def _state(job: Submission) -> State:
    if job.host != host():
        return State("unknown", f"it runs on {job.host}")
    there = job.id.isdecimal() and alive(int(job.id), job.process)
    return State("running" if there else "ended")
