"""Text from files and other processes as it may be shown: on one line, and without commands to a terminal."""

from __future__ import annotations

import os
import shutil
from typing import TextIO

from rich.cells import cell_len, set_cell_size

WIDTH = 100  # of lines that go to no terminal
GAP = "…"  # stands for what is left out
UNPRINTABLE = "�"
# A terminal's current line and those below it. A bar leaves the cursor where it begins, so that whoever prints next,
# from whatever process, takes away all of it and nothing else.
ERASE = "\r\x1b[J"


def is_drawn_on(stream: TextIO) -> bool:
    """Whether bars are drawn on a stream: a terminal that obeys commands, where nobody asks for plain lines."""
    dumb = os.environ.get("TERM", "").lower() in {"dumb", "unknown"}
    return stream.isatty() and not dumb and not os.environ.get("BENCH_PLAIN")


def over_bars(stream: TextIO) -> str:
    """Return what to print first where a bar may stand: what a killed process has drawn, another takes away."""
    return ERASE if is_drawn_on(stream) else ""


def screen_width() -> int:
    """Return how many characters a line may have: as many as the terminal, or COLUMNS in the environment; else 100."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def printable(text: str) -> str:
    r"""Return a text with everything that a terminal might obey, or that turns its order, written as an escape.

    These are control characters, ends of lines, and marks of direction: ESC becomes the four characters `\x1b`.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def without_unprintable(text: str) -> str:
    """Return a text of the same length with � for each character that cannot be printed, where escapes are too long."""
    return text if text.isprintable() else "".join(each if each.isprintable() else UNPRINTABLE for each in text)


def cut_middle(text: str, width: int) -> str:
    """Return a text that takes at most `width` columns of a terminal: of a longer one the middle is left out.

    Names of runs differ at their ends (`…-s0`, `…-s1`), so that an end must stay. A width of less than 1 gives "".
    """
    if cell_len(text) <= width:
        return text
    if width < 1:
        return ""
    last = (width - 1) // 2
    end = ""
    for each in reversed(text):
        if cell_len(each + end) > last:
            break
        end = each + end
    start = set_cell_size(text, width - 1 - cell_len(end)).rstrip()
    return start + GAP + end
