"""Ending stages from outside: their grids, their processes, their jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import BadInput
from bench.execute.jobs.cancelling import ask_to_cancel
from bench.execute.jobs.executor import executor_of
from bench.execute.jobs.holder import holder_of, is_held
from bench.execute.jobs.local import interrupt
from bench.execute.jobs.process import alive, host
from bench.execute.jobs.status import Row, rows


def cancel(work_dir: Path, folders: Sequence[Path] | None) -> list[str]:
    """End the stages in `folders`, or with None all that run or wait, and return what was done, in lines for people.

    Each writes its last checkpoint. Raises BadInput, after all that could be ended was asked to, where one could not.
    """
    found = rows(work_dir)
    if folders is None:
        chosen = [row for row in found if row.state in {"running", "waiting"}]
    else:
        wanted = {folder.absolute() for folder in folders}
        chosen = [row for row in found if row.folder.absolute() in wanted]
    lines = [f"{row.title}: nothing to end, it is {row.state}" for row in chosen if not _goes_on(row)]
    chosen = [row for row in chosen if _goes_on(row)]
    problems: list[str] = []
    local = [row for row in chosen if row.job is None or row.job.executor == "local"]
    for row in local:
        try:
            lines.append(_cancel_stage(row, alone=folders is not None))
        except BadInput as problem:
            problems.append(f"{row.title}: {problem}")
    if folders is None:
        problems += _cancel_jobs([row for row in local if row.job is not None])
    others = [row for row in chosen if row not in local]
    problems += _cancel_jobs(others)
    lines += [f"{row.title}: its job was asked to end" for row in others]
    if problems:
        print("\n".join(lines), end="\n" * bool(lines), flush=True)
        raise BadInput(" ".join(dict.fromkeys(problems)))
    return lines or ["nothing runs or waits"]


def _goes_on(row: Row) -> bool:
    return row.state in {"running", "waiting"}


def _cancel_stage(row: Row, *, alone: bool) -> str:
    """Ask one stage of this machine to end, and return what was done.

    `alone`: the others of its grid go on; else whoever walks the grid is asked besides, and starts no further one.
    """
    holder = holder_of(row.folder)
    where = holder.host if row.state == "running" else row.job.host if row.job is not None else ""
    if where != host():
        raise BadInput(f"it was started on {where or 'an unknown machine'}, and this is {host()}; cancel it there.")
    if alone:
        ask_to_cancel(row.folder)
    if row.state == "waiting" and not is_held(row.folder):  # it may have been started meanwhile
        return f"{row.title}: will not be started"
    walked = row.job is not None and alive(int(row.job.id), row.job.process)
    if (alone or not walked) and holder.pid is not None:
        interrupt(holder.pid, holder.process, holder.host, group=True)
    return f"{row.title}: was asked to end; it writes its last checkpoint first"


def _cancel_jobs(some: Sequence[Row]) -> list[str]:
    """Cancel the jobs of stages, by each executor at once, and return what could not be done."""
    problems = []
    jobs = [row.job for row in some if row.job is not None]
    for name in dict.fromkeys(job.executor for job in jobs):
        try:
            executor_of(name).cancel([job for job in jobs if job.executor == name])
        except BadInput as problem:
            problems.append(str(problem))
    return problems
