"""Telling somebody that a grid has ended: a command of theirs, which gets what is said as data and never as words."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Literal

from bench.printable import printable

LIMIT_SECONDS = 60.0  # that the command may take
STATUS, SUMMARY = "BENCH_NOTIFY_STATUS", "BENCH_NOTIFY_SUMMARY"
MOST_WORDS = 200  # characters of what the command said
MOST_TEXT = 10_000  # characters of the summary in the environment; on the standard input is all of it

Status = Literal["done", "failed", "interrupted", "time"]


def notify(command: str, status: Status, summary: Sequence[str], limit: float = LIMIT_SECONDS) -> str | None:
    """Run a command of the shell, and return what went wrong with it in one line; None where nothing did.

    The status is in its environment as BENCH_NOTIFY_STATUS, and the summary as BENCH_NOTIFY_SUMMARY and on its standard
    input. Nothing of that is put into the command. One that takes longer than `limit` seconds is ended, with whatever
    it has started. Raises nothing but KeyboardInterrupt.
    """
    text = "\n".join(summary)
    # An environment holds no zero bytes, and no long texts.
    environ = os.environ | {STATUS: status, SUMMARY: text.replace("\0", "")[:MOST_TEXT]}
    try:
        # Files and no pipes: a command that reads nothing, or leaves something in the background, holds nobody up.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(f"{text}\n".encode(errors="backslashreplace"))
            given.seek(0)
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                env=environ,
                stdin=given,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                return f"--notify: the command had not ended after {limit:g} s, and was ended"
            finally:
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            said.seek(0)
            return None if code == 0 else f"--notify: {_ending(code)}{_last_line(said.read())}"
    except (OSError, ValueError) as error:
        return f"--notify: the command cannot be started ({error})"


def _ending(code: int) -> str:
    if code < 0:
        return f"the command was ended by signal {-code}"
    return f"the command ended with exit code {code}"


def _last_line(said: bytes) -> str:
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return f": {printable(lines[-1].strip())[:MOST_WORDS]}" if lines else ""
