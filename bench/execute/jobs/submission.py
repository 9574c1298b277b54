"""`job.json` in a stage's folder: who was asked to run the stage, written when a grid is started or submitted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from bench.execute.jobs.cancelling import forget_cancelling
from bench.execute.jobs.failure import forget_failure
from bench.files import read_json, write_text

JOB = "job.json"


class Submission(BaseModel):
    """Who runs a stage. The content of `job.json`; what later versions add to it is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    executor: str  # "local", "slurm", or the name of a plug-in
    id: str  # local: the number of the process that walks the grid; Slurm: "123", or "123_4" in an array
    host: str  # where it was submitted; local: where it runs
    submitted: str  # UTC, ISO 8601
    log: str  # what the stage prints: relative to its folder, or absolute
    after: tuple[str, ...] = ()  # ids of the jobs that it waits for
    process: str | None = None  # local: when that process started, so that a number given out again is not taken for it

    @model_validator(mode="after")
    def _names_a_process(self) -> Self:
        if self.executor == "local" and not re.fullmatch(r"[0-9]{1,9}", self.id):
            raise ValueError("a job of this machine is the number of a process")
        return self

    def log_of(self, folder: Path) -> Path:
        """Return the path of the log of the stage in `folder`."""
        return folder / self.log


def write_submission(folder: Path, submission: Submission) -> None:
    """Write a stage's `job.json` in the place of an earlier one, and forget how that ended. Raises OSError."""
    forget_cancelling(folder)
    forget_failure(folder)
    write_text(folder / JOB, submission.model_dump_json(indent=1) + "\n")


def read_submission(folder: Path) -> Submission | None:
    """Return what a stage's `job.json` says; None where there is none, or none that can be read."""
    try:
        return Submission.model_validate(read_json(folder / JOB))
    except ValueError:  # pydantic's
        return None
