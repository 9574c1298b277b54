"""Make the pictures of a terminal in docs/images: a small run that really happens here, and the view of it.

    python docs/terminal.py        # some minutes; no data are needed

`bench run --smoke` runs in a terminal of its own. What its screen held before the last stage, when the bars said how
long the grid still takes, and what was printed last, is `run.svg`. In a second, longer run a stage is killed, as a
machine without memory does it, and the view of `bench status --watch` while the next pretraining trains is `watch.svg`.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench.execute.jobs.durations import seconds_left
from bench.execute.jobs.holder import holder_of
from bench.execute.jobs.status import rows
from bench.execute.jobs.view import Look, screen, share_of
from bench.execute.jobs.watch import FOOT

WIDTH, HEIGHT = 100, 30
GRID = ["--pretrain", "coco_two_loss", "--seeds", "0", "1", "--downstream", "imagenet_knn"]
WORDS = ["run", "--smoke", *GRID]
WATCHED = ["run", "--smoke", "--pretrain", "random_init", "coco_two_loss", "--seeds", "0", "1"]
WATCHED += ["--downstream", "imagenet_knn", "--set", "arch=resnet18", "pretrain.epochs=15"]
KILLED = "knn coco_two_loss--imagenet_knn-s0"  # a stage of the second run
RUNS = Path("runs")
IMAGES = Path(__file__).parent / "images"
MOST_LINES = 22  # of the part with the bars
_BEGUN = re.compile(r"\x1b(\[[0-9;?]*)?$")
_PIECE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+")


class Screen:
    """The lines of a terminal, as far as our bars ask anything of one: up, erase from here on, begin the line."""

    def __init__(self) -> None:
        self.lines = [""]
        self.at = 0
        self._new = True  # what is printed next begins the line
        self._cut = ""  # the begin of a command whose end is yet to come

    def feed(self, text: str) -> None:
        """Take what a program printed."""
        text = self._cut + text
        begun = _BEGUN.search(text)
        self._cut = begun[0] if begun else ""
        for piece in _PIECE.findall(text.removesuffix(self._cut)):
            if piece == "\n":
                self.at += 1
                self.lines += [""] * (self.at + 1 - len(self.lines))
                self._new = True
            elif piece == "\r":
                self._new = True
            elif up := re.fullmatch(r"\x1b\[(\d*)A", piece):
                self.at = max(0, self.at - int(up[1] or 1))
            elif piece == "\x1b[J":
                self.lines[self.at :] = [""]
            elif not piece.startswith("\x1b") or piece.endswith("m"):
                self.lines[self.at] = piece if self._new else self.lines[self.at] + piece
                self._new = False


def run(place: Path, words: list[str], seen: Callable[[Screen], bool]) -> tuple[int, Screen]:
    """Run `bench` in `place`, on a terminal; return its exit code and the screen at its end.

    `seen` is asked at least each half a second whether it has seen enough: then the run is interrupted.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": str(HEIGHT)}
    environ.pop("BENCH_PLAIN", None)
    command = [sys.executable, "-m", "bench", *words]
    process = subprocess.Popen(command, cwd=place, env=environ, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    os.chdir(place)
    shown, pending, enough = Screen(), b"", False
    while True:
        if select.select([leader], [], [], 0.5)[0]:
            try:
                piece = os.read(leader, 1 << 16)
            except OSError:  # what a terminal says once nobody writes to it any more
                break
            if not piece:
                break
            pending += piece
            text = pending.decode("utf-8", "ignore")
            pending = pending[len(text.encode()) :]
            shown.feed(text)
        if not enough and seen(shown):
            enough = True
            process.send_signal(signal.SIGINT)
    os.close(leader)
    return process.wait(), shown


def record_run(place: Path) -> tuple[list[str], list[str]]:
    """Return the lines of a run with its bars, and those at its end."""
    with_bars = list[str]()

    def seen(shown: Screen) -> bool:
        at = [found for line in shown.lines[-2:] if (found := re.search(r"^grid .*stage (\d+) of (\d+).* left", line))]
        if at and at[0][1] != at[0][2]:
            with_bars[:] = shown.lines
        return False

    code, shown = run(place, WORDS, seen)
    if code or not with_bars:
        sys.exit("the run failed, or was too quick to be seen:\n" + "\n".join(shown.lines[-40:]))
    last = next(number for number, line in enumerate(shown.lines) if line.startswith("summary:"))
    return with_bars, [line for line in shown.lines[last:] if line]


def record_watched(place: Path) -> Look:
    """Kill a stage of a run, and return the view of its grid while the next pretraining is about half done."""
    looks, looked_at = list[Look](), 0.0

    def seen(_shown: Screen) -> bool:
        nonlocal looked_at
        if time.monotonic() - looked_at < 0.5:
            return False
        looked_at, found = time.monotonic(), rows(RUNS)
        for row in found:
            if row.title == KILLED and row.state == "running" and (pid := holder_of(row.folder).pid) is not None:
                os.kill(pid, signal.SIGKILL)
        if any(row.state == "failed" for row in found) and any(0.4 <= (share_of(row) or 0.0) < 1 for row in found):
            looks.append(Look(found, RUNS, seconds_left(found)))
        return bool(looks)

    _, shown = run(place, WATCHED, seen)
    if not looks:
        sys.exit("no stage was killed, or the next was too quick:\n" + "\n".join(shown.lines[-40:]))
    return looks[0]


def draw(file: Path, title: str, *parts: Text) -> None:
    """Write a picture without anything that a browser would have to load."""
    console = Console(width=WIDTH, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for part in parts:
        console.print(part, highlight=False)
    svg = console.export_svg(title=title, unique_id=file.stem)
    file.parent.mkdir(exist_ok=True)
    file.write_text(re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.DOTALL), encoding="utf-8")
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=IMAGES, help="the folder of the pictures")
    to = parser.parse_args().to.absolute()
    with tempfile.TemporaryDirectory() as place:
        with_bars, end = record_run(Path(place))
        os.chdir(to.parent)
    command = f"$ bench {' '.join(WORDS)}"
    middle = [line for line in with_bars if line][-MOST_LINES:]
    cut = Text("⋮", style="dim")
    lines = [Text.from_ansi(line) for line in middle]
    draw(to / "run.svg", "bench run", Text(command, style="bold"), cut, *lines, cut, *map(Text.from_ansi, end))
    with tempfile.TemporaryDirectory() as place:
        look = record_watched(Path(place))
        os.chdir(to.parent)
    still = Console(width=WIDTH, height=HEIGHT, file=io.StringIO())
    asked = Text("$ bench status --watch", style="bold")
    draw(to / "watch.svg", "bench status --watch", asked, screen(look, still, HEIGHT, FOOT))
    for line in end:
        print(Text.from_ansi(line).plain)


if __name__ == "__main__":
    main()
