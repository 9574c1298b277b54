"""What Slurm says of jobs: squeue of those that wait or run, sacct of others, scontrol where nothing is accounted."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence

from bench.execute.jobs.executor import State, Word

ANSWER_SECONDS = 60.0  # that a command of Slurm's may take
SILENT = "Slurm does not answer"
FORGOTTEN = "Slurm knows of it no more"
AT_ONCE = 200  # jobs that are asked for with one command

_ID = re.compile(r"[0-9]{1,18}(_[0-9]{1,18})?")

_WORDS: dict[str, Word] = {
    "PENDING": "waiting",
    "REQUEUED": "waiting",
    "REQUEUE_FED": "waiting",
    "REQUEUE_HOLD": "waiting",
    "SPECIAL_EXIT": "waiting",
    "RESV_DEL_HOLD": "waiting",
    "SUSPENDED": "waiting",
    "STOPPED": "waiting",
    "CONFIGURING": "running",
    "RUNNING": "running",
    "COMPLETING": "running",
    "RESIZING": "running",
    "SIGNALING": "running",
    "STAGE_OUT": "running",
    "COMPLETED": "ended",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "BOOT_FAIL": "failed",
    "DEADLINE": "failed",
    "FAILED": "failed",
    "LAUNCH_FAILED": "failed",
    "NODE_FAIL": "failed",
    "OUT_OF_MEMORY": "failed",
    "PREEMPTED": "failed",
    "RECONFIG_FAIL": "failed",
    "TIMEOUT": "failed",
}
# In words where a person would not know Slurm's.
_REASONS = {
    "BOOT_FAIL": "its node did not boot",
    "DEADLINE": "its deadline passed",
    "LAUNCH_FAILED": "its node could not start it",
    "NODE_FAIL": "its node failed, and it was not requeued",
    "OUT_OF_MEMORY": "it took more memory than --mem allowed",
    "PREEMPTED": "pre-empted, and not requeued",
    "TIMEOUT": "its time was over before it could be requeued",
    "SUSPENDED": "suspended",
    "REQUEUE_HOLD": "held after it was requeued; scontrol release lets it run",
    "Dependency": "for the jobs before it",
    "DependencyNeverSatisfied": "a job before it failed",
    "Resources": "for free nodes",
    "Priority": "behind jobs of a higher priority",
    "BeginTime": "for the time at which it may start",
    "JobArrayTaskLimit": "for its place among --array-parallelism",
    "launch_failed_requeued_held": "held, since a node could not start it; scontrol release lets it run",
    "JobHeldUser": "held; scontrol release lets it run",
    "JobHeldAdmin": "held by an administrator",
}


def asked(command: Sequence[str]) -> str | None:
    """Return what a command of Slurm's printed, "" of jobs that it does not know; None where it does not answer."""
    try:
        environ = os.environ | {"SLURM_TIME_FORMAT": "standard"}
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id specified" in done.stderr:
        return ""
    return done.stdout if done.returncode == 0 else None


def states(ids: Iterable[str]) -> dict[str, State]:
    """Return {id: state} of jobs, "123" or "123_4" in an array.

    One that Slurm has forgotten has "ended", how is not known; all are "unknown" where it does not answer.
    """
    known = {each for each in ids if _ID.fullmatch(each)}  # a damaged file may say anything
    left, found = set(known), dict[str, State]()
    for look in (_queued, _accounted, _shown):
        for some in _pieces(sorted({each.partition("_")[0] for each in left}, key=int)):
            answers = look(some)
            if answers is None:  # of squeue, which every Slurm has
                return {each: State("unknown", SILENT) for each in known}
            found |= {job: state for job, state in answers if job in left}
        left -= found.keys()
    return found | {each: State("ended", FORGOTTEN) for each in left}


def state_of(word: str, reason: str = "", code: str = "") -> State:
    """Return what a state in Slurm's word means.

    Args:
        word: as squeue and sacct print it: `RUNNING`, `CANCELLED by 1000`.
        reason: why it waits, in Slurm's word.
        code: exit code and signal, as in `2:0`.
    """
    first = (word.split() or [""])[0].rstrip("+")
    kind = _WORDS.get(first, "unknown")
    if kind == "unknown":
        return State(kind, f"Slurm says {word}" if word else "")
    if first in _REASONS:
        return State(kind, _REASONS[first])
    if kind == "failed":
        status, _, number = code.partition(":")
        words = f"ended by signal {number}" if number not in ("", "0") else f"exit code {status}" if status else ""
        return State(kind, words)
    if kind == "cancelled" and "Dependency" in reason:
        return State(kind, _REASONS["DependencyNeverSatisfied"])
    if kind == "waiting" and reason not in ("", "None", "(null)"):
        return State(kind, _REASONS.get(reason, f"Slurm says {reason}"))
    return State(kind)


def _queued(ids: Sequence[str]) -> list[tuple[str, State]] | None:
    """Those that wait or run; None where Slurm does not answer."""
    printed = asked(["squeue", "--noheader", "--array", "--format=%i|%T|%r", f"--jobs={','.join(ids)}"])
    if printed is None:
        return None
    lines = ((*line.strip().split("|"), "", "") for line in printed.splitlines())
    found = [(job, state_of(word, reason)) for job, word, reason, *_ in lines]
    return [(job, state) for job, state in found if state.word in ("waiting", "running")]


def _accounted(ids: Sequence[str]) -> Iterator[tuple[str, State]]:
    """Those that have ended, where Slurm keeps accounts. The last line of a job that was requeued counts."""
    fields = "--format=JobID,State,ExitCode,Reason"
    printed = asked(["sacct", "--noheader", "--allocations", "--parsable2", fields, f"--jobs={','.join(ids)}"]) or ""
    for line in printed.splitlines():
        job, word, code, reason, *_ = (*line.split("|"), "", "", "")
        if _ID.fullmatch(job):
            yield job, state_of(word, reason, code)


def _shown(ids: Sequence[str]) -> Iterator[tuple[str, State]]:
    """Those that ended some minutes ago at most, of which Slurm itself still knows."""
    for asked_for in ids:
        for line in (asked(["scontrol", "--oneliner", "show", "job", asked_for]) or "").splitlines():
            told = dict(word.partition("=")[::2] for word in line.split() if "=" in word)
            array, task = told.get("ArrayJobId"), told.get("ArrayTaskId", "")
            state = state_of(told.get("JobState", ""), told.get("Reason", ""), told.get("ExitCode", ""))
            if array is None:
                yield told.get("JobId", asked_for), state
            else:
                yield from ((f"{array}_{each}", state) for each in tasks_of(task))


def tasks_of(text: str) -> list[int]:
    """Return the tasks of an array that Slurm lists: `4`, `0-2`, `1,3-5%2`."""
    numbers: list[int] = []
    for part in text.partition("%")[0].split(","):
        if found := re.fullmatch(r"(\d+)(?:-(\d+))?(?::\d+)?", part):
            numbers += range(int(found[1]), int(found[2] or found[1]) + 1)
    return numbers


def _pieces(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))
