"""Handing a grid over to somebody who runs it after this command has ended."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from bench.execute.grid import Grid
from bench.execute.jobs.executor import Executor
from bench.execute.jobs.submission import Submission, read_submission
from bench.execute.local import prepare


def submit(grid: Grid, executor: Executor, unreadable: Literal["fail", "skip"]) -> list[str]:
    """Have what is to do of a grid run, and return what was submitted and how to look at it, in lines for people.

    Raises BadInput where the executor, or the allocator, cannot be had.
    """
    to_do, folders = prepare(grid, unreadable)
    before = [read_submission(folders[stage.fingerprint]) for stage in to_do]
    jobs = executor.submit(grid, folders, to_do)
    if len(jobs) > 1 and len({job.id for job in jobs}) == 1:
        lines = [f"{len(jobs)} stages go on: {executor.name} {jobs[0].id}"]
    else:
        lines = [
            f"{stage.title}: {executor.name} {job.id}" + _about(job, known)
            for stage, job, known in zip(to_do, jobs, before, strict=True)
        ]
    where = [] if grid.work_dir == Path("runs") else ["--work-dir", str(grid.work_dir)]
    look, read, end = (
        shlex.join(["bench", *words, *where])
        for words in (["status"], ["logs", to_do[0].title, "--follow"], ["cancel", "--all"])
    )
    return [*lines, f"How it gets on: {look}", f"What a stage prints: {read}", f"To end it: {end}"]


def _about(job: Submission, known: Submission | None) -> str:
    """What a stage's job waits for, or that it was submitted before and has not ended."""
    if known == job:
        return ", submitted before"
    return f", after {', '.join(job.after)}" if job.after else ""
