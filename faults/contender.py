"""One of many processes that want overlapping grids: plans its own, runs each of its stages, and notes what it does.

A note is a line of JSON, appended in one write, so that no kill tears it and their order is that of time. Whether two
processes run a stage at once is not asked of the lock that is tested: each run holds a lock of another kind, POSIX's,
on a file of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.execute import stage as execute_stage
from bench.execute.grid import Grid, plan_grid
from bench.execute.local import prepare
from bench.execute.parent import end_with_parent
from bench.execute.request import Request
from bench.execute.stage_file import DONE
from bench.stages.job import Job

TASKS = ("first", "second", "third")
SEEDS, TASK_SEEDS = (0, 1, 2), (0, 1)
NOTES, ORACLE = "notes.jsonl", "running"
# Where a process may kill itself: instants that a kill from outside seldom meets.
INSTANTS = ("computed", "before the record", "after the record", "before done.json")
KIND = '''"""A task that takes a moment, and whose result is known."""

from bench.config.tasks import TrunkTask


class Moment(TrunkTask):
    metrics = {"sum": "sum"}
    outputs = ("sum.txt",)
    steps: int = 4


def run(job):
    import time

    total = 0
    for step in range(job.config.steps):
        time.sleep(0.01)
        total += 7 * step + job.seed
    (job.folder / "sum.txt").write_text(f"{total}\\n" * 1000)
    return {"sum": float(total)}
'''


@dataclass(frozen=True)
class Contender:
    """What a process wants, and on which host it is: a name, and a path of its own to the shared folder."""

    number: int
    host: str
    seeds: tuple[int, ...]
    task_seeds: tuple[int, ...]
    tasks: tuple[str, ...]


def lay_out(place: Path, hosts: tuple[str, ...]) -> None:
    """Make the shared folder, each host's path to it, and the configs that all of them read."""
    shared = place / "shared"
    (shared / ORACLE).mkdir(parents=True)
    (place / "configs").mkdir()
    (place / "configs" / "moment.py").write_text(KIND, encoding="utf-8")
    for number, name in enumerate(TASKS):
        text = f'kind = "moment.py:Moment"\ndataset = "none"\nsteps = {3 + number}\nprofiles = dict(smoke=dict())\n'
        (place / "configs" / f"{name}.py").write_text(text, encoding="utf-8")
    for host in hosts:
        (place / host).symlink_to(shared)


def grid_of(place: Path, contender: Contender) -> Grid:
    """Plan what a contender wants, on its host."""
    request = Request(
        pretrain=["random_init"],
        downstream=[str(place / "configs" / f"{name}.py") for name in contender.tasks],
        seeds=contender.seeds,
        task_seeds=contender.task_seeds,
        profile="smoke",
        assignments=["pretrain.arch=resnet18w16"],
        work_dir=place / contender.host / "runs",
        results_dir=place / contender.host / "results",
    )
    return plan_grid(request, act=True)


def contend(place: Path, contender: Contender, life: int, seed: int, dying: float) -> int:
    """Run all that a contender wants; return 0, or 1 if a stage failed.

    It kills itself at one of INSTANTS with the probability `dying` each time; `life` counts its starts.
    """
    end_with_parent(signal.SIGKILL)
    socket.gethostname = lambda: contender.host
    _watch(place / contender.host, contender, random.Random(f"{seed} {contender.number} {life}"), dying)
    to_do, folders = prepare(grid_of(place, contender), "fail")
    for stage in to_do:
        execute_stage.run_stage(folders[stage.fingerprint])
    return 0


def _watch(shared: Path, contender: Contender, chance: random.Random, dying: float) -> None:
    """Note what the code of stages does from now on in this process."""
    function_of, write_record, write_done = (
        execute_stage.function_of,
        execute_stage.write_record,
        execute_stage.write_done,
    )

    def note(what: str, stage: str) -> None:
        append(shared, {"what": what, "stage": stage, "process": os.getpid(), "host": contender.host})

    def may_die(instant: str, stage: str) -> None:
        if chance.random() < dying:
            note(f"killed {instant}", stage)
            os.kill(os.getpid(), signal.SIGKILL)

    def watched_function(kind: Any) -> Callable[[Job], dict[str, Any]]:
        function = function_of(kind)

        def run(job: Job) -> dict[str, Any]:
            name = job.folder.name
            with (shared / ORACLE / name).open("a") as alone:
                try:
                    fcntl.lockf(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    note("overlapping", name)
                note("again" if (job.folder / DONE).is_file() else "begun", name)
                metrics = function(job)
                note("computed", name)
                may_die("computed", name)
                return metrics

        return run

    def watched_record(record: Any, folder: Path, *more: Any) -> Path:
        may_die("before the record", record.file_name)
        file = write_record(record, folder, *more)
        may_die("after the record", record.file_name)
        return file

    def watched_done(folder: Path, done: Any) -> None:
        may_die("before done.json", folder.name)
        write_done(folder, done)
        note("done", folder.name)

    execute_stage.function_of = watched_function
    execute_stage.write_record = watched_record
    execute_stage.write_done = watched_done


def append(shared: Path, content: dict[str, Any]) -> None:
    """Append a note."""
    line = json.dumps(content | {"at": time.monotonic()}) + "\n"
    handle = os.open(shared / NOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def notes_of(shared: Path) -> list[dict[str, Any]]:
    """Return all notes, in the order of time."""
    file = shared / NOTES
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
