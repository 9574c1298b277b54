"""On a terminal, whole lines stand above one block of bars, whenever and by whomever lines are printed."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import cli
from bench.errors import BadInput
from bench.execute import local
from bench.execute.stage_log import LOG, logged
from bench.progress import Progress
from bench.progress_bar import Place, in_grid

WIDTH = 120
PATIENCE = 60.0  # seconds; a safety net
PIECES = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|[^\x1b]", re.DOTALL)
KILLED = """
import os, signal, sys
from pathlib import Path
from bench.execute.stage_log import logged
from bench.progress import Progress
from bench.progress_bar import Place, in_grid
with logged(Path(sys.argv[1]), "x"), in_grid(Place(1, 2)), Progress("tiny", 4) as progress:
    progress.update(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def stands_on(text: str) -> list[str]:
    """The lines that a terminal shows after a text, which asks it for what our programs and rich's bars ask."""
    rows, row, column = [list[str]()], 0, 0
    for piece in PIECES.finditer(text):
        number, command = piece[1], piece[2]
        if command == "A":
            row = max(0, row - int(number or 1))
        elif command == "J":
            rows[row:] = [rows[row][:column]]
        elif command == "K":
            rows[row] = []
        elif command is not None:
            assert command in "mhl", piece[0]
        elif piece[0] == "\r":
            column = 0
        elif piece[0] == "\n":
            row, column = row + 1, 0
            rows += [[] for _ in range(row + 1 - len(rows))]
        else:
            rows[row] += [" "] * (column + 1 - len(rows[row]))
            rows[row][column] = piece[0]
            column += 1
    return [line for each in rows if (line := "".join(each).rstrip())]


@pytest.fixture(autouse=True)
def asks_for_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_PLAIN", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(WIDTH))


@contextlib.contextmanager
def terminal() -> Iterator[list[str]]:
    """Lead what is printed within to a terminal; afterwards, the list has the text that it got."""
    got, text = list[str](), b""
    leader, follower = pty.openpty()
    before = [os.dup(number) for number in (1, 2)]
    try:
        sys.stdout.flush()
        with contextlib.redirect_stdout(os.fdopen(os.dup(follower), "w")) as screen:
            for number in (1, 2):
                os.dup2(follower, number)
            os.close(follower)
            yield got
            screen.close()
    finally:
        for number, kept in enumerate(before, 1):
            os.dup2(kept, number)
            os.close(kept)
    with contextlib.suppress(OSError):  # what a terminal says once nobody writes to it any more
        while piece := os.read(leader, 10_000):
            text += piece
    os.close(leader)
    got.append(text.decode())


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def bars_in(lines: list[str]) -> list[str]:
    return [line for line in lines if "━" in line]


def test_a_late_line_stands_whole_above_the_bars(tmp_path: Path) -> None:
    """It was printed before the bars were drawn, or while they stand; and it is longer or shorter than they."""
    late = ["load proof: every tensor matches", "short", "long " * 22 + "end"]
    now = [0.0]
    with (
        terminal() as got,
        logged(tmp_path, "x"),
        in_grid(Place(1, 2, 10.0, 20.0)),
        Progress("tiny", 4, clock=lambda: now[0]) as progress,
    ):
        for line in late:
            os.write(1, line.encode() + b"\n")
            until(lambda line=line: line in (tmp_path / LOG).read_text())  # type: ignore[misc]
            now[0] += 1
            progress.update(1)
    (text,) = got
    *said, bar = stands_on(text)
    assert [line for line in said if not line.startswith("log: ")] == late
    assert bar.startswith("tiny ━")
    assert "3/4 steps" in bar
    # While it ran, too: after each drawing one bar of the loop and one of the grid.
    drawn = [stands_on(text[: end.end()]) for end in re.finditer(r"\r\x1b\[1A", text)]
    assert [len(bars_in(each)) for each in drawn] == [2] * 4
    assert [each[-1].startswith("grid ") for each in drawn] == [True] * 4


def test_a_line_in_pieces_is_whole_though_a_bar_is_drawn_meanwhile(tmp_path: Path) -> None:
    now = [0.0]
    with (
        terminal() as got,
        logged(tmp_path, "x"),
        in_grid(Place(1, 2)),
        Progress("tiny", 4, clock=lambda: now[0]) as progress,
    ):
        os.write(1, b"first\nthe begin,")
        until(lambda: "first" in (tmp_path / LOG).read_text())
        now[0] += 1
        progress.update(1)
        os.write(1, b" the end\n")
        until(lambda: "the end" in (tmp_path / LOG).read_text())
    lines = stands_on(got[0])
    assert lines[-3:-1] == ["first", "the begin, the end"]
    assert len(bars_in(lines)) == 1


def test_what_a_killed_stage_drew_is_taken_away(tmp_path: Path) -> None:
    """By the process that keeps its log, and by the grid that goes on, whichever of them is first."""
    with terminal() as got:
        done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
        local.say("[1/2] pretrain tiny: ended by SIGKILL")
    (text,) = got  # all, as the process that keeps the log had the terminal, too
    assert done.returncode == -signal.SIGKILL
    assert "━" in text
    lines = [line for line in stands_on(text) if not line.startswith("log: ")]
    assert lines == ["[1/2] pretrain tiny: ended by SIGKILL"]
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")  # the cursor is shown again


@pytest.mark.parametrize("name", ["TERM", "BENCH_PLAIN"])
def test_a_terminal_that_obeys_nothing_is_asked_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "dumb")
    with terminal() as got:
        with logged(tmp_path, "x"), in_grid(Place(1, 2)), Progress("tiny", 4) as progress:
            progress.update(1)
            os.write(1, b"a line\n")
        local.say("next")
    (text,) = got
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if "tiny" not in line][1:] == ["a line", "next"]


def test_a_reason_commands_no_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    local.say("one: \x1b[2Jgone\ntwo\r")
    assert capsys.readouterr().out == "one: \\x1b[2Jgone\ntwo\\r\n"

    def fail(**_: object) -> None:
        raise BadInput("The file a\x1b]0;b\x07\nbench: all is well.png cannot be read.")

    monkeypatch.setattr(cli, "app", fail)
    assert cli.run(["list"]) == 2
    assert capsys.readouterr().err == "bench: The file a\\x1b]0;b\\x07\\nbench: all is well.png cannot be read.\n"
