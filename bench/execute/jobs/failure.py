"""`failed.json` in a stage's folder: how its last run ended, where that was not with a result.

The stage itself writes it, and where a signal ended that, whoever waited for its process. It is removed when the stage
starts again. A disk that is full must not hide what went wrong: nothing here raises.
"""

from __future__ import annotations

import contextlib
import datetime
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.errors import BadInput, Interrupted, StageFailed, one_line
from bench.files import read_json, write_text

FAILED = "failed.json"
STOPPED = "a signal stopped it; it goes on from its last checkpoint"

Ending = Literal["failed", "stopped", "not run"]


class Failure(BaseModel):
    """How a stage ended without a result. The content of `failed.json`; what later versions add is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ending: Ending  # "stopped": a signal asked it to, and it goes on from its last checkpoint
    code: int | None = None  # exit code; None where a signal ended it, or where it did not run
    signal: str | None = None  # its name, "SIGKILL"
    reason: str  # for people
    log: str  # relative to the stage's folder, or absolute
    when: str  # UTC, ISO 8601


def write_failure(folder: Path, ending: Ending, reason: str, log: str, code: int | None = None) -> None:
    """Note how a stage ended. An exit code below zero is that of a signal, as in `subprocess`."""
    name = None
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
        name, code = name or f"signal {-code}", None
    failure = Failure(ending=ending, code=code, signal=name, reason=reason, log=log, when=now())
    with contextlib.suppress(OSError):
        write_text(folder / FAILED, failure.model_dump_json(indent=1) + "\n")


def read_failure(folder: Path) -> Failure | None:
    """Return how a stage's last run ended; None where it is not noted, or cannot be read."""
    try:
        return Failure.model_validate(read_json(folder / FAILED))
    except ValueError:  # pydantic's
        return None


def forget_failure(folder: Path) -> None:
    """Remove the note, as the stage starts again."""
    with contextlib.suppress(OSError):
        (folder / FAILED).unlink(missing_ok=True)


@contextmanager
def noting_failure(folder: Path, log: str) -> Iterator[None]:
    """Forget how the stage in `folder` ended before, and note it if the block is left by an exception."""
    forget_failure(folder)
    try:
        yield
    except (BadInput, StageFailed) as error:
        write_failure(folder, "failed", str(error), log, error.exit_code)
        raise
    except (Interrupted, KeyboardInterrupt):
        write_failure(folder, "stopped", STOPPED, log, Interrupted.exit_code)
        raise
    except BaseException as error:
        write_failure(folder, "failed", one_line(error, kind=True), log, StageFailed.exit_code)
        raise


def now() -> str:
    """Return the time as these files have it: UTC, ISO 8601, whole seconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
