"""How the stages of a work folder get on, from what lies in their folders, and what executors say of their jobs.

Nothing here needs the process that started them, nor torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bench.errors import BadInput
from bench.execute.jobs.cancelling import is_cancelled
from bench.execute.jobs.executor import State, states_of
from bench.execute.jobs.failure import Failure, read_failure
from bench.execute.jobs.holder import holder_of, is_held
from bench.execute.jobs.process import host
from bench.execute.jobs.submission import Submission, read_submission
from bench.execute.words import counted, duration
from bench.files import checked, read_json
from bench.printable import printable
from bench.progress import PROGRESS
from bench.progress_bar import memory_words

STAGE, DONE, LOG = "stage.json", "done.json", "log.txt"
BEGUN = ("holder", "made.json", LOG)  # what a stage that was begun has in its folder

Word = Literal["done", "running", "waiting", "failed", "not run", "stopped", "stale"]
ORDER: tuple[Word, ...] = ("done", "running", "waiting", "failed", "not run", "stopped", "stale")
BAD: frozenset[Word] = frozenset({"failed", "not run"})
UNKNOWN = State("unknown")
States = Callable[[Iterable[Submission]], Mapping[Submission, State]]


@dataclass(frozen=True)
class Row:
    """One stage."""

    title: str
    state: Word
    folder: Path
    log: Path | None  # None where it has printed nothing yet
    progress: str = ""  # of one that runs: "step 120 of 400, 30 %, about 3 min left"
    reason: str = ""  # why it waits, failed, stopped or is stale; where it runs
    job: Submission | None = None
    stage: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)  # what its `stage.json` says
    note: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)  # of how far it is
    seconds: float | None = None  # that it took, of one that is done and was not interrupted

    @property
    def parents(self) -> tuple[Path, ...]:
        """The folders of the stages that it needs."""
        inputs = self.stage.get("inputs")
        above = inputs.values() if isinstance(inputs, dict) else ()
        return tuple(self.folder.parent.parent / each for each in above if isinstance(each, str))

    def content(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "stage": self.title,
            "state": self.state,
            "progress": self.progress,
            "reason": self.reason,
            "log": None if self.log is None else str(self.log),
            "folder": str(self.folder),
            "executor": None if self.job is None else self.job.executor,
            "job": None if self.job is None else self.job.id,
        }


@dataclass(frozen=True)
class _Found:
    """What lies in a stage's folder."""

    folder: Path
    title: str
    parents: tuple[Path, ...]
    done: bool
    held: bool
    failure: Failure | None
    job: Submission | None
    stage: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None


def rows(work_dir: Path, states: States = states_of) -> list[Row]:
    """Return a row for each stage in a work folder, parents before children.

    `states` asks the executors about jobs; it is asked once, for those of stages that are not done.
    """
    found = {each.folder: each for each in map(_found, stage_files(work_dir)) if each is not None}
    jobs = [each.job for each in found.values() if each.job is not None and not each.done]
    answers = states(jobs) if jobs else {}
    said = {folder: UNKNOWN if each.job is None else answers.get(each.job, UNKNOWN) for folder, each in found.items()}
    found = {folder: _with_ending(each, said[folder]) for folder, each in found.items()}
    rows = [_row(each, found, said[folder]) for folder, each in found.items()]
    return sorted(rows, key=lambda row: (_depth(row.folder, found), row.folder.parent.name, row.title))


def stage_files(work_dir: Path) -> list[Path]:
    """Return each `stage.json` of a work folder. Raises BadInput where that may not be read."""
    try:
        return sorted(work_dir.glob(f"*/*/{STAGE}"))
    except OSError as error:
        words = f"Cannot read {work_dir} ({error.strerror}); give another --work-dir, or get access."
        raise BadInput(words) from error


def lines(rows: Sequence[Row]) -> list[str]:
    """Return rows for people, and how many stages are in which state."""
    width = max((len(row.title) for row in rows), default=0)
    lines = []
    for row in rows:
        about = "; ".join(word for word in (row.progress, row.reason) if word)
        log = f" (log: {row.log})" if row.log is not None and row.state not in {"done", "waiting"} else ""
        lines.append(printable(f"{row.state:<8} {row.title:<{width}}  {about}{log}".rstrip()))
    return [*lines, counts(rows)]


def counts(rows: Sequence[Row]) -> str:
    """Return how many stages are in which state: `3 stages: 2 done, 1 running`."""
    numbers = [(word, sum(row.state == word for row in rows)) for word in ORDER]
    return f"{counted(len(rows), 'stage')}: " + ", ".join(f"{number} {word}" for word, number in numbers if number)


def any_failed(rows: Iterable[Row]) -> bool:
    """Whether one of the stages failed, or did not run because another did."""
    return any(row.state in BAD for row in rows)


def _found(file: Path) -> _Found | None:
    """What lies in the folder of a `stage.json`; None for a stage that was put aside."""
    folder = file.parent
    if re.search(r"\.replaced-[^-]+(-\d+)?$", folder.name):
        return None
    stage = read_json(file)
    kind, label, inputs = stage.get("kind"), stage.get("label"), stage.get("inputs")
    title = f"{kind} {label}" if isinstance(kind, str) and isinstance(label, str) else f"{folder.parent.name} {folder}"
    above = inputs.values() if isinstance(inputs, dict) else ()
    left = done_of(folder, stage.get("fingerprint"))
    done = left is not None
    return _Found(
        folder=folder,
        title=title,
        parents=tuple(folder.parent.parent / each for each in above if isinstance(each, str)),
        done=done,
        held=not done and is_held(folder),
        failure=None if done else read_failure(folder),
        job=read_submission(folder),
        stage=stage,
        seconds=None if left is None else seconds_of(left),
    )


def done_of(folder: Path, fingerprint: object) -> Mapping[str, Any] | None:
    """Return what `done.json` says; None unless it is whole and of this plan.

    That is as far as it can be said without the stage's kind.
    """
    try:
        done = checked((folder / DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    files = done.get("files")
    there = all((folder / name).is_file() for name in files) if isinstance(files, dict) else True
    return done if there and fingerprint is not None and done.get("fingerprint") == fingerprint else None


def seconds_of(done: Mapping[str, Any]) -> float | None:
    """Return the seconds that a stage took; None where its `done.json` doesn't say so of all its parts."""
    seconds = done.get("wall_seconds")
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or done.get("untimed"):
        return None
    return float(seconds)


def _is_recorded(folder: Path) -> bool:
    """Whether a task that is not marked as done has a record all the same."""
    stage = read_json(folder / STAGE)
    place, fingerprint = stage.get("results_dir"), stage.get("fingerprint")
    if not isinstance(place, str) or not isinstance(fingerprint, str) or not fingerprint.isalnum():
        return False
    try:
        return any((Path(place) / "records").glob(f"*__{fingerprint[:12]}.json"))
    except (OSError, ValueError):
        return False


def _with_ending(each: _Found, said: State) -> _Found:
    """Take an executor's word that a job failed, where the stage could leave none: it ran out of memory, say."""
    if said.word != "failed" or each.failure is not None or each.done or each.held:
        return each
    failure = Failure(ending="failed", reason=said.reason or "its job failed", log=LOG, when="")
    return replace(each, failure=failure)


def _failed_before(each: _Found, all_: Mapping[Path, _Found], depth: int = 0) -> _Found | None:
    """Return the stage that failed, because of which this one cannot run; None where there is none."""
    for parent in (all_[folder] for folder in each.parents if folder in all_):
        if parent.done or parent.held or depth > len(all_):  # deeper are circles alone, in damaged files
            continue
        if parent.failure is not None and parent.failure.ending == "failed":
            return parent
        if (before := _failed_before(parent, all_, depth + 1)) is not None:
            return before
    return None


def _row(each: _Found, all_: Mapping[Path, _Found], said: State) -> Row:
    log = each.folder / LOG if each.job is None else each.job.log_of(each.folder)
    state, reason = _state(each, all_, said)
    note = read_json(each.folder / PROGRESS) if each.held else {}
    there = log if log.is_file() else None
    words = progress_words(note)
    return Row(each.title, state, each.folder, there, words, reason, each.job, each.stage, note, each.seconds)


def _state(each: _Found, all_: Mapping[Path, _Found], said: State) -> tuple[Word, str]:
    """The state of a stage, and why."""
    if each.done:
        return "done", ""
    holder = holder_of(each.folder)
    if each.held:
        where = f"on {holder.host}" if holder.host not in {"", host()} else ""
        reason = "; ".join(word for word in (where, "it was asked to end" * is_cancelled(each.folder)) if word)
        return "running", reason
    requeued = each.job is not None and each.job.executor != "local" and said.word in {"waiting", "running"}
    if each.failure is not None and not (requeued and each.failure.ending == "stopped"):
        ending: Word = each.failure.ending
        return ending, each.failure.reason
    return _without_holder(each, all_, said)


def _without_holder(each: _Found, all_: Mapping[Path, _Found], said: State) -> tuple[Word, str]:
    """The state of a stage that nobody holds, and that left no word of how it ended."""
    local = each.job is not None and each.job.executor == "local"
    lacking = [all_[parent] for parent in each.parents if parent in all_ and not all_[parent].done]
    if said.word in {"waiting", "running"} or (said.word == "unknown" and each.job is not None and not local):
        # The process of a grid here runs from its first stage on; a job elsewhere has yet to take the stage.
        if lacking:
            return "waiting", f"for {', '.join(parent.title for parent in lacking)}"
        return ("running", "starting") if said.word == "running" and not local else ("waiting", said.reason)
    if said.word == "unknown" and local:
        return "waiting", f"{said.reason}; bench status says more there"
    if (broken := _failed_before(each, all_)) is not None:
        return "not run", f"{broken.title} failed"
    if said.word == "cancelled":
        return "stopped", said.reason or "its job was cancelled"
    if any((each.folder / name).exists() for name in BEGUN):
        if _is_recorded(each.folder):  # so that a grid passes it over
            words = "its result is recorded, but its process ended before it said so"
            return "stale", f"{words}; bench stage {each.folder} does"
        holder = holder_of(each.folder)
        who = f" ({holder.words})" if holder.words else ""
        return "stale", f"it was begun and its process{who} is gone; give its command again, and it goes on"
    return "stopped", "whoever was to run it has ended before it began; give the command again"


def _depth(folder: Path, found: Mapping[Path, _Found], below: tuple[Path, ...] = ()) -> int:
    """How many stages come one after another before this one; a circle, which only damaged files have, ends."""
    each = found.get(folder)
    if each is None or folder in below:
        return 0
    return 1 + max((_depth(parent, found, (*below, folder)) for parent in each.parents), default=0)


def progress_words(note: Mapping[str, Any]) -> str:
    """Return what a note of progress says, "" for none: `step 120 of 400, 30 %, about 3 min left, memory 1.2 GiB`."""
    done, total, unit, left = (note.get(key) for key in ("done", "total", "unit", "seconds_left"))
    if not isinstance(done, int) or not isinstance(total, int) or not isinstance(unit, str) or total <= 0:
        return ""
    single = unit.removesuffix("s") if unit in {"steps", "iterations"} else ""
    words = f"{single} {done} of {total}" if single else f"{done} of {total} {unit}"
    words += f", {100 * done // total} %"
    if isinstance(left, int | float) and math.isfinite(left) and done < total:  # a damaged note may say anything
        words += f", about {duration(float(left))} left"
    return ", ".join([words, *machine_words(note)])


def machine_words(note: Mapping[str, Any]) -> list[str]:
    """Return what a note of progress says of the machine: `data wait 12%`, `memory 1.2 GiB + GPU 10.1 GiB`."""
    waiting, memory = note.get("waiting_for_data"), note.get("peak_memory_mib")
    words = [f"data wait {waiting}"] if isinstance(waiting, str) and re.fullmatch(r"\d{1,3}%", waiting) else []
    if isinstance(memory, dict):
        held = {name: each for name, each in memory.items() if isinstance(each, int | float) and math.isfinite(each)}
        words += filter(None, [memory_words(held)])
    return words
