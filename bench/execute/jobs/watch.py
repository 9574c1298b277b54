"""`bench status --watch`: how a work folder gets on, looked at again and again. Only files are read, nothing is sent.

On a terminal it is a screen that is drawn anew, which q leaves; elsewhere a line for each change. It ends by itself
when nothing runs or waits any more.
"""

from __future__ import annotations

import math
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live

from bench.errors import Interrupted
from bench.execute.jobs.durations import seconds_left
from bench.execute.jobs.executor import sparing
from bench.execute.jobs.status import Row, any_failed, counts, lines, rows
from bench.execute.jobs.view import Look, screen, share_of
from bench.execute.stopping import stoppable
from bench.printable import is_drawn_on, printable

EASE = 4  # a look at a large folder is followed by a pause of so many times what it took
LEAVE = b"qQ"
FOOT = "q leaves; what runs goes on"

Pause = Callable[[float], bool]  # waits so many seconds; says whether a person wants to leave


def watch(work_dir: Path, interval: float) -> int:
    """Show how the stages of a work folder get on, until nothing runs or waits, or a person leaves.

    `interval` are the seconds between two looks. Returns the exit code: 1 where a stage failed; 130 after Ctrl-C.
    """
    with stoppable():
        return watch_screen(work_dir, interval) if is_drawn_on(sys.stdout) else watch_lines(work_dir, interval)


def watch_lines(work_dir: Path, interval: float, pause: Pause | None = None) -> int:
    """Print a line whenever the state of a stage changes, or another tenth of it is done."""
    wait = pause or _sleep
    shown: dict[Path, tuple[str, str, int]] = {}
    found: Sequence[Row] = []
    try:
        for found, took in _looks(work_dir):
            for row in found:
                new = (row.state, row.reason, math.floor(10 * (share_of(row) or 0.0)))
                if shown.get(row.folder) != new:
                    shown[row.folder] = new
                    print(f"{time.strftime('%H:%M:%S')} {lines([row])[0]}", flush=True)
            if not _goes_on(found) or wait(max(interval, EASE * took)):
                break
    except KeyboardInterrupt:
        return Interrupted.exit_code
    print(_last_words(found, work_dir), flush=True)
    return int(any_failed(found))


def watch_screen(work_dir: Path, interval: float, console: Console | None = None, pause: Pause | None = None) -> int:
    """Draw how the stages get on, on a screen of its own; what was seen last stays when that is left."""
    console = console or Console()
    look, code = Look([], work_dir), 0
    try:
        with ExitStack() as stack:
            wait = pause or stack.enter_context(_keys())
            live = stack.enter_context(
                Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
            )
            for found, took in _looks(work_dir):
                look = Look(found, work_dir, seconds_left(found))
                live.update(screen(look, console, console.height, FOOT), refresh=True)
                if not _goes_on(found) or wait(max(interval, EASE * took)):
                    break
    except KeyboardInterrupt:
        code = Interrupted.exit_code
    console.print(screen(look, console, console.height), highlight=False)
    console.print(_last_words(look.rows, work_dir), markup=False, highlight=False, style="dim")
    return code or int(any_failed(look.rows))


def _looks(work_dir: Path) -> Iterator[tuple[list[Row], float]]:
    """Yield what is seen of a work folder, and the seconds that it took, without an end."""
    states = sparing()
    while True:
        began = time.monotonic()
        found = rows(work_dir, states)
        yield found, time.monotonic() - began


def _goes_on(found: Iterable[Row]) -> bool:
    return any(row.state in {"running", "waiting"} for row in found)


def _last_words(found: Sequence[Row], work_dir: Path) -> str:
    place = printable(str(work_dir))
    if not found:
        return f"There are no stages in {place}; bench run makes them, and --work-dir says where they are."
    if _goes_on(found):
        return f"left, and what runs goes on; {counts(found)}"
    return f"nothing runs or waits in {place}; {counts(found)}"


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


@contextmanager
def _keys() -> Iterator[Pause]:
    """Give what waits, and says whether q was pressed meanwhile; keys are read one by one, and not shown, within."""
    keys = sys.stdin.fileno()
    if not os.isatty(keys):
        yield _sleep
        return

    def wait(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([keys], [], [], left)[0]:
                pressed = os.read(keys, 1024)
                if not pressed or any(key in pressed for key in LEAVE):  # nothing: the terminal is gone
                    return True
        return False

    before = termios.tcgetattr(keys)
    tty.setcbreak(keys)
    try:
        yield wait
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
