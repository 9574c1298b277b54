"""What is said at the end of a grid: what ran, what failed and where its log is, and what to do next."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BadInput, Interrupted, MoreToDo, one_line
from bench.execute.grid import Grid
from bench.execute.jobs.status import Row, rows
from bench.execute.local import say
from bench.execute.notify import Status, notify
from bench.execute.stage_log import near
from bench.execute.words import counted, duration
from bench.printable import cut_middle, printable

MOST_WORDS = 400  # characters of a sentence
MOST_NAMED = 3  # stages that failed, with their last sentence
WORDS = {"done": "ran", "waiting": "left"}  # of states, at the end


def status_of(error: BaseException | None) -> Status:
    """Return how a command ended, by what ended it."""
    if error is None:
        return "done"
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return "interrupted"
    return "time" if isinstance(error, MoreToDo) else "failed"


@contextmanager
def told(command: str | None, lines: Callable[[Status, BaseException | None], Sequence[str]]) -> Iterator[None]:
    """At the end of the block, however it ends, run `command` with the lines that are to be said; None: nothing."""
    error: BaseException | None = None
    try:
        yield
    except BaseException as caught:
        error = caught
        raise
    finally:
        status = status_of(error)
        try:
            found = lines(status, error)
        except (OSError, BadInput) as gone:  # of a disk that is gone: what ended the block is what counts
            found = [f"summary: it cannot be said what ran ({printable(str(gone))})"]
            say(found[0])
        if command is not None and (problem := notify(command, status, found)) is not None:
            say(problem)


@contextmanager
def summed_up(grid: Grid, words: Sequence[str], commands: Collection[str], command: str | None) -> Iterator[None]:
    """Print a summary of a grid at the end of the block, and give it to the command that notifies.

    `words` are those of the command line after `bench`, and `commands` the names of bench's commands that there are.
    """
    began = time.monotonic()

    def lines(status: Status, error: BaseException | None) -> list[str]:
        found = summary(grid, status, error, time.monotonic() - began, words, commands)
        say("\n".join(["", *found]))
        return found

    with told(command, lines):
        yield


def summary(
    grid: Grid,
    status: Status,
    error: BaseException | None,
    seconds: float,
    words: Sequence[str],
    commands: Collection[str],
) -> list[str]:
    """Return what there is to say of a grid that has ended, in at most 12 lines."""
    folders = {(grid.work_dir / stage.folder).absolute() for stage in grid.to_do()}
    found = [row for row in rows(grid.work_dir) if row.folder.absolute() in folders]
    lines = [_first(grid, found, seconds), *_failures(found)]
    if status == "failed" and error is not None and not any(row.state == "failed" for row in found):
        lines.append(_line("failed", printable(one_line(error))))
    if status == "failed":  # else the command is said after this
        lines.append(_line("go on", f"{shlex.join(['bench', *words])}  (what is done is skipped)"))
    return lines + [_line("results" if not number else "", each) for number, each in enumerate(_looks(grid, commands))]


def _first(grid: Grid, found: Sequence[Row], seconds: float) -> str:
    """How many stages ran, and what became of the others."""
    before = sum(state in {"recorded", "done"} for state in grid.states.values())
    skipped = f"{before} {'was' if before == 1 else 'were'} recorded or done before" if before else ""
    if not found:
        return f"summary: nothing was to be done; {skipped}" if skipped else "summary: nothing was to be done"
    counts = Counter(row.state for row in found)
    parts = [f"{counts.pop('done', 0)} of {counted(len(found), 'stage')} ran in {duration(seconds)}"]
    parts += [f"{number} {WORDS.get(word, word)}" for word, number in counts.items()]
    return f"summary: {', '.join(parts)}" + (f"; {skipped}" if skipped else "")


def _failures(found: Sequence[Row]) -> list[str]:
    """The stages that failed, each with its last sentence and its log."""
    failed = [row for row in found if row.state == "failed"]
    lines = []
    for row in failed[:MOST_NAMED]:
        log = "" if row.log is None else f" (log: {near(row.log.absolute())})"
        reason = cut_middle(printable(row.reason), MOST_WORDS)
        lines.append(_line("failed", printable(f"{row.title}: {reason}{log}")))
    more = len(failed) - MOST_NAMED
    return [*lines, _line("", f"and {more} more; bench status lists them")] if more > 0 else lines


def _looks(grid: Grid, commands: Collection[str]) -> list[str]:
    """The commands that show results, where there are any."""
    tasks: dict[str, list[str]] = {}  # task -> pretrainings that it has a record of
    for stage in grid.stages:
        if stage.is_task and (grid.results_dir / "records" / stage.record_name).is_file():
            some = tasks.setdefault(stage.config.name, [])
            some += [] if stage.recipe.name in some else [stage.recipe.name]
    where = [] if grid.results_dir == Path("results") else ["--results-dir", str(grid.results_dir)]
    drawn = [] if grid.work_dir == Path("runs") else ["--work-dir", str(grid.work_dir)]
    looks = [["table"], ["report", *drawn]] if tasks else []
    if pair := next((some for some in tasks.values() if len(some) > 1), []):
        looks.append(["compare", *pair[:2]])
    return [shlex.join(["bench", *look, *where]) for look in looks if look[0] in commands]


def _line(head: str, words: str) -> str:
    return f"{head:<8} {words}"
