"""What runs the stages of a grid for us: this machine, Slurm, or a class from outside of this package.

An executor from outside is an entry point of the group `bench.executors`; `docs/clusters.md` says how one is written.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.errors import BadInput, nearest_or_all
from bench.execute.jobs.submission import Submission
from bench.plugins import entries, load, locate

if TYPE_CHECKING:  # bench status does without them, and answers at once
    from bench.execute.grid import Grid
    from bench.plan import Stage

GROUP = "bench.executors"  # of entry points
ASK_SECONDS = 15.0  # between two questions to a cluster, whose controller answers all who use it
OURS = {
    "local": "bench.execute.jobs.local:LocalExecutor",
    "slurm": "bench.execute.jobs.slurm:SlurmExecutor",
}

Word = Literal["waiting", "running", "ended", "failed", "cancelled", "unknown"]


@dataclass(frozen=True)
class State:
    """What an executor says of a job. "ended" is without a failure; "unknown": it has no word of it any more."""

    word: Word
    reason: str = ""  # why it waits, or how it ended, in words; "" where there is nothing to say


class Executor(Protocol):
    """Runs stages. Whatever it is told when it is made must have defaults: `bench status` makes it without words."""

    name: str
    processes: int | None  # of a stage that several can share, on all its nodes; None: those of --gpus

    def check(self) -> None:
        """Refuse what cannot work, before anything is planned or written. Raises BadInput."""
        ...

    def submit(self, grid: Grid, folders: Mapping[str, Path], to_do: Sequence[Stage]) -> list[Submission]:
        """Have the stages `to_do` run, parents before children, and return the job of each, in that order.

        `folders` are those of the stages by their fingerprints; their `stage.json` is written. Each stage's `job.json`
        is written here, before its job can start. Raises BadInput where the executor cannot be had.
        """
        ...

    def states(self, submissions: Sequence[Submission]) -> dict[str, State]:
        """Return {id: state} of jobs, asked for all at once. Raises nothing: what is not known is "unknown"."""
        ...

    def cancel(self, submissions: Sequence[Submission]) -> None:
        """End jobs so that each stage writes its last checkpoint. Raises BadInput where that cannot be done here."""
        ...


def names() -> list[str]:
    """Return the names of the executors that there are."""
    return [*OURS, *entries(GROUP)]


def executor_of(name: str, **told: Any) -> Executor:
    """Return an executor by its name; what it is `told` are keywords of its class. Raises BadInput for no such name."""
    if name in OURS:
        module, _, attribute = OURS[name].partition(":")
        found: Any = getattr(import_module(module), attribute)
    elif name in entries(GROUP):
        found = load(locate(name, GROUP, what="executor", known=OURS))
    else:
        raise BadInput(f"There is no executor {name!r}{nearest_or_all(name, names())}")
    executor: Executor = found(**told)
    return executor


def executor_for(name: str, words: Sequence[str], detach: bool, told: Mapping[str, Any]) -> Executor | None:
    """Return who runs what `bench run` was asked for; None where that process does so itself.

    `words` are the command line after `bench`, and `told` has keywords of the executor's class. Raises BadInput for no
    such executor.
    """
    if name != "local":
        return executor_of(name, **told)
    return executor_of(name, words=[word for word in words if word != "--detach"]) if detach else None


def states_of(submissions: Iterable[Submission]) -> dict[Submission, State]:
    """Return the state of each job, of several executors; one that cannot be had says "unknown" of all its jobs."""
    by_name: dict[str, list[Submission]] = {}
    for submission in dict.fromkeys(submissions):
        by_name.setdefault(submission.executor, []).append(submission)
    found: dict[Submission, State] = {}
    for name, some in by_name.items():
        # The number of a process means another one later: jobs of this machine are asked for one by one.
        groups = [[each] for each in some] if name == "local" else [some]
        try:
            executor = executor_of(name)
            for group in groups:
                said = executor.states(group)
                found |= {each: said.get(each.id, State("unknown")) for each in group}
        except (BadInput, ImportError) as error:
            found |= {each: State("unknown", str(error)) for each in some}
    return found


def sparing(
    ask: Callable[[Iterable[Submission]], Mapping[Submission, State]] = states_of,
) -> Callable[[Iterable[Submission]], Mapping[Submission, State]]:
    """Return what says the states of jobs as `ask` does, and asks clusters at most every ASK_SECONDS."""
    known, asked_at = dict[Submission, State](), -math.inf

    def states(submissions: Iterable[Submission]) -> Mapping[Submission, State]:
        nonlocal known, asked_at
        jobs = list(submissions)
        here = [job for job in jobs if job.executor == "local"]
        elsewhere = [job for job in jobs if job.executor != "local"]
        now = time.monotonic()
        if elsewhere and now - asked_at >= ASK_SECONDS:
            known, asked_at = dict(ask(elsewhere)), now
        return known | dict(ask(here) if here else {})

    return states
