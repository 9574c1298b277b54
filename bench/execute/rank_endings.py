"""How the processes of one stage ended, and whether they start again: from files that each leaves, without torch.

A process that dies, or whose connection to another is lost, says nothing of the stage itself: all start again from the
last checkpoint. What a process refused, or what broke in it, would break again, so it ends the stage.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from bench.errors import BadInput, Interrupted, PeerLost, StageFailed
from bench.execute.stage_ending import how_it_ended
from bench.files import write_text

REPORTS = "ranks"  # in a stage's folder: what each rank said last
STARTED_BY = "BENCH_RANKS_STARTED_BY"  # set where our launcher started this rank, and prints what it says

# Exit codes of a rank that was asked to stop; Python ends by the signal itself while it still imports.
ASKED = {-signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP, Interrupted.exit_code}


@dataclass(frozen=True)
class Ending:
    """How one rank ended."""

    rank: int
    code: int | None  # below zero: the signal; None: it did not answer, and was killed for that
    said: str = ""  # its last sentence
    pid: int = 0


@dataclass(frozen=True)
class Verdict:
    """What the endings of all ranks mean: `words` for people, and the error that ends the stage or None to go on."""

    words: str
    error: Exception | None = None


@contextmanager
def said_to_launcher(folder: Path, environ: Mapping[str, str] | None = None) -> Iterator[None]:
    """Leave what ends this rank in a file for the launcher, which prints it once for all ranks, and end in silence.

    Nothing is done where another launcher than ours started the rank.
    """
    environ = os.environ if environ is None else environ
    if not environ.get(STARTED_BY):
        yield
        return
    file = folder / REPORTS / f"{environ['RANK']}.json"
    file.unlink(missing_ok=True)  # of the start before
    try:
        yield
    except (BadInput, StageFailed, Interrupted) as error:
        with contextlib.suppress(OSError):  # a full disk: the exit code tells the launcher what matters
            write_text(file, json.dumps({"said": str(error), "code": error.exit_code}) + "\n")
        raise SystemExit(error.exit_code) from error


def said_by(folder: Path, rank: int) -> str:
    """Return the last sentence of a rank; "" if it left none."""
    try:
        return str(json.loads((folder / REPORTS / f"{rank}.json").read_text(encoding="utf-8"))["said"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def forget_reports(folder: Path) -> None:
    """Remove what ranks of earlier starts said."""
    place = folder / REPORTS
    for file in place.glob("*.json"):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        place.rmdir()


def judge(title: str, endings: Sequence[Ending], world: int, config: BaseModel, log: str, minutes: float) -> Verdict:
    """Say what it means that the ranks of a launcher ended like this, at least one of them not well.

    Args:
        title: of the stage.
        endings: of this launcher's ranks.
        world: ranks of all launchers.
        config: of the stage, for advice about memory.
        log: where what they printed is kept.
        minutes: that a rank waits for another.
    """
    ordered = sorted(endings, key=lambda one: one.rank)
    failed = [one for one in ordered if (one.code or 0) > 0 and one.code not in (PeerLost.exit_code, *ASKED)]
    if any(one.code == -signal.SIGKILL for one in ordered):  # nothing that another rank does ends in that
        failed = [one for one in failed if one.code == BadInput.exit_code]
    if failed:
        first = failed[0]
        if first.code == BadInput.exit_code and first.said:
            return Verdict(first.said, BadInput(first.said))
        words = first.said or f"{title}: rank {first.rank} of {world} failed (exit code {first.code}; log: {log})"
        return Verdict(words, StageFailed(words))
    asked = [one for one in ordered if one.code in ASKED]
    if asked:
        words = next((one.said for one in asked if one.said), f"{title} was interrupted; its last checkpoint stays.")
        return Verdict(words, Interrupted(words))
    died = [one for one in ordered if one.code is not None and one.code < 0]
    silent = [one for one in ordered if one.code is None]
    # A rank that waits for one that does not answer may be aborted by NCCL: that is not what happened first.
    causes = [one for one in died if one.code != -signal.SIGABRT] or silent or died
    if not causes:
        lost = next((one.said for one in ordered if one.code == PeerLost.exit_code and one.said), "")
        return Verdict(lost or f"{title}: the connection to another rank of {world} was lost")
    return Verdict(f"{title}: " + "; ".join(_ended(one, world, config, minutes) for one in causes))


def _ended(one: Ending, world: int, config: BaseModel, minutes: float) -> str:
    who = f"rank {one.rank} of {world} (process {one.pid})"
    if one.code is None:
        return f"{who} did not answer for {minutes:g} minutes"
    return f"{who} was {how_it_ended(one.code, config)}"
