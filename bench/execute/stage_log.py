"""A stage's log: all that it and the processes that it starts print, appended each time the stage is started."""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from bench.errors import CannotWrite, one_line
from bench.execute import log_writer
from bench.execute.grid_place import place_in
from bench.progress import shown_on
from bench.progress_bar import in_grid

LOG = "log.txt"  # in a stage's folder


@contextmanager
def logged(folder: Path, title: str) -> Iterator[None]:
    """Keep what is printed within in the folder's log, too, and say where that is.

    A bar of progress on a terminal is still drawn there; the log has a line of it a minute. An error that leaves the
    block is noted in the log. Nothing is done where the standard output is the log already. A log that stays behind on
    a full disk stops nothing; one that cannot be opened raises CannotWrite.
    """
    file = folder / LOG
    with _opened(file) as log:
        if os.path.sameopenfile(log.fileno(), 1):
            yield
            return
        print(f"log: {near(file)}", flush=True)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        log_writer.write(log.fileno(), f"--- {title}, {now}\n".encode())
        try:
            with _copied(log), in_grid(place_in(folder)):
                yield
        except BaseException as error:
            words = str(error) if hasattr(error, "exit_code") else one_line(error, kind=True)
            log_writer.write(log.fileno(), f"{words}\n".encode(errors="backslashreplace"))
            raise


def _opened(file: Path) -> TextIO:
    try:  # without a buffer, so that nothing is left to be written when it is closed
        return io.TextIOWrapper(file.open("ab", buffering=0), encoding="utf-8", write_through=True)
    except OSError as error:
        raise CannotWrite(error.errno, error.strerror, str(file)) from error


def near(file: Path) -> Path:
    """Return a path as seen from the working directory, if it lies below that."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


@contextmanager
def _copied(log: TextIO) -> Iterator[None]:
    """Lead the standard output and error through a process that copies them to where they led, and to the log."""
    with ExitStack() as stack:
        screen, errors = (stack.enter_context(os.fdopen(os.dup(number), "w")) for number in (1, 2))
        end, ended = os.pipe()
        pipes = [(*os.pipe(), screen)]
        if not os.path.sameopenfile(screen.fileno(), errors.fileno()):  # of one, the order of lines is kept
            pipes.append((*os.pipe(), errors))
        numbers = [end, log.fileno(), *(number for read, _, to in pipes for number in (read, to.fileno()))]
        command = [sys.executable, "-I", "-S", log_writer.__file__, *map(str, numbers)]
        # In a session of its own: what ends the stage's group must not end it before it has written all.
        writer = subprocess.Popen(command, pass_fds=set(numbers), stdin=subprocess.DEVNULL, start_new_session=True)
        if screen.isatty():
            stack.enter_context(shown_on(screen, log))
        _lead(pipes[0][1], pipes[-1][1])
        for number in (end, *(number for read, write, _ in pipes for number in (read, write))):
            os.close(number)
        try:
            yield
        finally:
            _lead(screen.fileno(), errors.fileno())
            with contextlib.suppress(BrokenPipeError):  # it was killed
                os.write(ended, b"\0")
            os.close(ended)
            writer.wait()


def _lead(output: int, errors: int) -> None:
    """Make the standard output and error those open files."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os.dup2(output, 1)
    os.dup2(errors, 2)
