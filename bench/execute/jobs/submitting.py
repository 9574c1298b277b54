"""Hand a grid to an executor other than this machine, and say what became of each stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.execute.grid import plan_grid
from bench.execute.jobs.executor import executor_of
from bench.execute.jobs.submission import Submission, read_submission
from bench.execute.local import prepare
from bench.execute.request import Request
from bench.execute.stale import StaleChoice


def submit_request(
    request: Request, name: str, told: Mapping[str, Any], stale: StaleChoice = "refuse", *, dry_run: bool = False
) -> list[Submission]:
    """Plan a request and hand its stages to an executor; with `dry_run` only print the plan.

    Args:
        request: the grid.
        name: of the executor.
        told: keywords of its class.
        stale: what to do with what other code has made.
        dry_run: print the plan, and stop.

    Returns the jobs of the stages that are to do. Raises BadInput for whatever is wrong, as far as possible before
    anything is written.
    """
    executor = executor_of(name, **told)
    processes = getattr(executor, "processes", 1)
    if dry_run:
        print("\n".join(plan_grid(request, act=False, gpus=processes).lines(processes)))
        return []
    check: Callable[[], None] = getattr(executor, "check", lambda: None)
    check()
    grid = plan_grid(request, act=True, gpus=processes, stale=stale)
    for note in grid.notes:
        print(f"note: {note}", flush=True)
    to_do, folders = prepare(grid, request.unreadable)
    before = {stage.fingerprint: read_submission(folders[stage.fingerprint]) for stage in to_do}
    jobs = executor.submit(grid, folders, to_do) if to_do else []
    new = 0
    for stage, job in zip(to_do, jobs, strict=True):
        known = before[stage.fingerprint]
        if known is not None and (known.executor, known.id) == (job.executor, job.id):
            print(f"job {job.id:<10} {stage.title}: submitted before", flush=True)
            continue
        new += 1
        after = f", after {', '.join(job.after)}" if job.after else ""
        print(f"job {job.id:<10} {stage.title}{after}", flush=True)
    if not to_do:
        print("nothing is to do", flush=True)
    elif new:
        print(f"{new} jobs submitted; bench status --work-dir {grid.work_dir} says how they get on.", flush=True)
    else:
        print("nothing was submitted: all of it waits or runs already.", flush=True)
    return jobs
