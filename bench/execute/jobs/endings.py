"""What whoever walks a grid notes of stages that ended without a result, or that cannot run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import Interrupted
from bench.execute.jobs.cancelling import is_cancelled
from bench.execute.jobs.failure import read_failure, write_failure
from bench.execute.stage_ending import how_it_ended
from bench.execute.stage_log import LOG
from bench.plan import Stage

CANCELLED = "cancelled by bench cancel"


@dataclass(frozen=True)
class NotRun:
    """Why a stage is not run."""

    reason: str
    code: int  # exit code that it counts with: that of the parent which failed


def why_not(stage: Stage, folder: Path, failed: Mapping[str, int]) -> NotRun | None:
    """Return why a stage is not run, and note it in its folder; None where nothing speaks against it.

    `failed` has the exit codes of stages by their fingerprints.
    """
    if is_cancelled(folder):
        write_failure(folder, "stopped", CANCELLED, LOG)
        return NotRun(CANCELLED, Interrupted.exit_code)
    broken = next((parent for parent in stage.parents.values() if parent.fingerprint in failed), None)
    if broken is None:
        return None
    why = NotRun(f"{broken.title} failed", failed[broken.fingerprint])
    write_failure(folder, "not run", why.reason, LOG)
    return why


def note_ending(stage: Stage, folder: Path, code: int) -> str:
    """Note how a stage's process ended that left no result, and return it in words.

    What the stage noted itself says more than its exit code does, and stays.
    """
    if is_cancelled(folder):
        words = f"{CANCELLED}; its last checkpoint stays"
        write_failure(folder, "stopped", words, LOG, code)
        return words
    words = how_it_ended(code, stage.config)
    if code < 0 or read_failure(folder) is None:
        write_failure(folder, "failed", words, LOG, code)
    return words
