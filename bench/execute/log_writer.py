"""Copy what a stage prints to its screen and to its log: a process of its own, so that a stage's crash costs no word.

    python log_writer.py END LOG READ SCREEN [READ SCREEN]

All are numbers of open files: READ is what to copy to SCREEN and LOG, and END becomes readable when there is no more of
it (some process may hold its other side open for longer). In the log, what overwrites itself on a screen (after a
carriage return) is kept as it was at the end of the line. Nothing of ours is imported, so as to start in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

ERASE = b"\r\x1b[J"  # a terminal's line on which a bar may begin, and those below it
SHOW = b"\x1b[?25h"  # its cursor, which a bar hides
PIECE = 1 << 16


class Copy:
    """What one stream was led to, and the lines of it that are not whole yet."""

    def __init__(self, screen: int, log: int) -> None:
        self.screen, self.log = screen, log
        self.line = b""
        dumb = os.environ.get("TERM", "").lower() in {"dumb", "unknown"}
        self.bars = os.isatty(screen) and not dumb and not os.environ.get("BENCH_PLAIN")  # may stand there

    def add(self, text: bytes) -> None:
        """Write some text to the screen, and the lines that it ends to the log."""
        # Where a bar was drawn over the begin of a line, that begin is shown again.
        write(self.screen, ERASE + self.line + text if self.bars else text)
        *whole, last = (self.line + text).split(b"\n")
        write(self.log, b"".join(shown(line) + b"\n" for line in whole))
        # After a carriage return the rest of the line is new, unless it is the end of the line.
        self.line = shown(last) + b"\r" * last.endswith(b"\r")

    def end(self) -> None:
        """Write what stands on the last line, and take away the bar of a process that was killed."""
        rest = shown(self.line)
        rest += b"\n" * bool(rest)
        write(self.log, rest)
        if self.bars:
            write(self.screen, ERASE + rest + SHOW)


def write(file: int, text: bytes) -> None:
    """Write all of it, unless the disk is full or the reader has left: the other side still has it."""
    with contextlib.suppress(OSError):
        while text:
            text = text[os.write(file, text) :]


def shown(line: bytes) -> bytes:
    """Return what a line shows that was overwritten from its start."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def copy(end: int, log: int, *pairs: int) -> None:
    """Copy until everybody has closed the other sides of what is read, or `end` is readable and nothing is left."""
    copies = {read: Copy(screen, log) for read, screen in zip(pairs[::2], pairs[1::2], strict=True)}
    left = list(copies)
    while left:
        ready = select.select([*left, end], [], [])[0]
        if ready == [end]:
            break
        for read in left[:]:
            if read in ready:
                if text := os.read(read, PIECE):
                    copies[read].add(text)
                else:
                    left.remove(read)
    for each in copies.values():
        each.end()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    copy(*map(int, sys.argv[1:]))
