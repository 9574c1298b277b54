"""The stage's side of a tracker: lines of JSON to a process of the tracker's, which are never waited for.

A stage must not be changed by a tracker. So the tracker's library is imported in another process, which has its own
random state, memory and signals; the pipe to it does not block, and what it does not take is kept, up to a limit. At
the end it gets some seconds to write the rest, and is then killed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from bench.import_path import command
from bench.trackers.choice import adapter_of
from bench.trackers.run import Run, Status

MOST_LINES = 10_000  # that are kept in memory for a tracker that takes none
END_SECONDS = 30.0  # that a tracker has at the end of a stage
CHUNK = 65_536

clock = time.monotonic


class Sending:
    """Sends what a stage tracks to the process of one tracker. No method raises because of it."""

    def __init__(self, name: str, run: Run, folder: Path) -> None:
        self.name, self._folder = name, folder
        self._log = folder / f"tracker-{name.replace(':', '.')}.log"
        self._lines: deque[bytes] = deque()
        self._rest = b""  # of a line that the pipe took a part of
        self._heard = b""
        self._said = self._lost = False
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = self._started()
        except OSError as error:
            self._say(error.strerror or str(error))
            return
        self._put({"start": asdict(run)})

    def _started(self) -> subprocess.Popen[bytes]:
        words = command(adapter_of(self.name), self.name, str(self._folder), module="bench.trackers.serving")
        # Nothing of a tracker's has many threads to compute with, and cores are the stage's.
        environ = os.environ | {"OMP_NUM_THREADS": "1"}
        log: IO[bytes] | None = None
        with suppress(OSError):
            log = self._log.open("ab")
        try:
            process = subprocess.Popen(
                words,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log or subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches the stage alone, which says when it ends
            )
        finally:
            if log is not None:
                log.close()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
        return process

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values after a step, now or later."""
        self._put({"step": step, "values": values})

    def begin_end(self, status: Status) -> None:
        """Ask the process to end; `finish` waits for it."""
        self._put({"end": status})

    def finish(self, until: float) -> None:
        """Wait until the process has ended, at most until then, by `clock`; one that has not is killed."""
        process = self._process
        if process is None:
            return
        try:
            while process.poll() is None and (left := until - clock()) > 0:
                assert process.stdin is not None
                assert process.stdout is not None
                waiting = [process.stdin] if self._lines or self._rest else []
                select.select([process.stdout], waiting, [], min(left, 0.1))
                self._push()
                if self._hear():  # the process has closed its end
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(max(0.0, until - clock()))
        finally:
            if late := process.poll() is None:
                with suppress(ProcessLookupError, PermissionError):  # and what the library has started
                    os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            self._hear()  # what it said last, if it ended while nobody listened
            self._process = None
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with suppress(OSError):
                    stream.close()
        if late:
            self._say(f"it had not ended after {END_SECONDS:g} s and was stopped")
        elif code:
            self._say(f"its process ended with exit code {code}")

    def _put(self, message: Mapping[str, object]) -> None:
        if self._process is None:
            return
        self._lines.append((json.dumps(message) + "\n").encode())
        if len(self._lines) > MOST_LINES:
            self._lines.popleft()
            if not self._lost:
                self._lost = True
                self._say("it takes nothing, and the oldest values are dropped")
        self._push()
        self._hear()

    def _push(self) -> None:
        """Write what the pipe takes at once."""
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            while self._rest or self._lines:
                if not self._rest:
                    self._rest = self._lines.popleft()
                self._rest = self._rest[os.write(process.stdin.fileno(), self._rest[:CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:  # it has ended; `finish` says so
            self._rest = b""
            self._lines.clear()

    def _hear(self) -> bool:
        """Say what the process has to say; return whether it has closed its end."""
        process = self._process
        if process is None or process.stdout is None:
            return True
        try:
            got = os.read(process.stdout.fileno(), CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        *lines, self._heard = (self._heard + got).split(b"\n")
        for line in lines:
            self._say(line.decode(errors="replace"))
        return not got

    def _say(self, words: str) -> None:
        """Say once that a tracker has a problem."""
        if not self._said:
            self._said = True
            with suppress(OSError):
                print(f"Tracker {self.name}: {words}; the stage goes on ({self._log} has more).", flush=True)


def end_all(sendings: Sequence[Sending], status: Status) -> None:
    """End the processes of trackers side by side, within END_SECONDS in all."""
    for sending in sendings:
        sending.begin_end(status)
    until = clock() + END_SECONDS
    for position, sending in enumerate(sendings):
        try:
            sending.finish(until)
        except KeyboardInterrupt:  # a second Ctrl-C: none of them is waited for any longer
            for other in sendings[position:]:
                other.finish(clock())
            raise
