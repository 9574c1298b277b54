"""Start stages by forking a process that has imported what they need.

Importing torch and mmseg takes a fresh process some seconds, which is most of a short stage. `bench run` therefore
starts one process that imports once and computes nothing; each stage is a fork of it, in a process group of its own,
so that a crash stays as local as that of a fresh process.

It is used on Linux without CUDA alone: a fork of a process that has asked the CUDA driver anything cannot use CUDA, and
some libraries ask while they are imported. Elsewhere, stages are fresh processes.

The server reads one JSON line `{"folder", "gpus"}` at a time, and answers each with `{"pid"}` and, when that process
has ended, with `{"code"}`: its exit code, or less than zero for a signal, as in `subprocess`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from bench.errors import Interrupted, StageFailed
from bench.execute.parent import end_if_told, end_with_parent, ending_with_this
from bench.import_path import command

NVIDIA_DRIVER = Path("/proc/driver/nvidia")
PATIENCE_SECONDS = 120  # for a stage to write its last checkpoint after Ctrl-C
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # that ask a stage to stop


def can_fork() -> bool:
    """Whether stages may be forks here: on Linux, on a machine without NVIDIA's driver."""
    return sys.platform == "linux" and not NVIDIA_DRIVER.exists()


class ForkedStage:
    """A stage that a server forked, with what `subprocess.Popen` has of it: `pid` and `wait`."""

    def __init__(self, server: StageServer, pid: int) -> None:
        self.pid = pid
        self._server = server
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        if self._code is None:
            self._code = self._server.answer("code", timeout)
        return self._code


class StageServer:
    """A process that has imported `modules`, and runs stages as forks of itself, one at a time. A context manager."""

    def __init__(self, modules: Iterable[str], environ: Mapping[str, str]) -> None:
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            command("serve-stages", str(writing), *modules),
            stdin=subprocess.PIPE,
            env=ending_with_this(environ),
            pass_fds=[writing],
            start_new_session=True,  # Ctrl-C does not reach it: whoever started a stage stops that
        )
        os.close(writing)
        self._answers = os.fdopen(reading, "rb", buffering=0)
        self._running = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A stage still runs if Ctrl-C came while it was being started.
        stage = None
        with contextlib.suppress(StageFailed, ProcessLookupError):
            while self._running:
                if not select.select([self._answers], [], [], PATIENCE_SECONDS)[0]:
                    self._process.kill()
                    if stage is not None:
                        os.killpg(stage, signal.SIGKILL)
                    break
                kind, value = self._next()
                if kind == "pid":
                    stage = value
                    os.killpg(stage, signal.SIGINT)
        self._answers.close()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()  # closes its input, at which it ends

    def start(self, folder: Path, gpus: int) -> ForkedStage:
        """Run the stage in `folder`. Raises StageFailed when the server has ended."""
        request = json.dumps({"folder": str(folder), "gpus": gpus}) + "\n"
        try:
            os.write(self._process.stdin.fileno(), request.encode())  # type: ignore[union-attr]
        except BrokenPipeError as error:
            raise self._ended() from error
        self._running = True
        return ForkedStage(self, self.answer("pid"))

    def answer(self, key: str, timeout: float | None = None) -> int:
        """Return the value of the server's next answer. Raises subprocess.TimeoutExpired, or StageFailed."""
        if timeout is not None and not select.select([self._answers], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self._process.args, timeout)
        said, value = self._next()
        if said != key:
            raise StageFailed(
                f"The process that starts stages said {said!r} instead of {key!r}; run the command again."
            )
        return value

    def _next(self) -> tuple[str, int]:
        line = self._answers.readline()
        if not line:
            self._running = False
            raise self._ended()
        ((said, value),) = json.loads(line).items()
        self._running = said != "code"
        return said, int(value)

    def _ended(self) -> StageFailed:
        code = self._process.wait()
        return StageFailed(f"The process that starts stages has ended (exit code {code}); run the command again.")


def serve(answers: int, modules: Iterable[str], run: Callable[[Sequence[str]], int]) -> int:
    """Import `modules`, then fork a process for each line on the standard input, which runs `bench stage` by `run`.

    Answers go to the file descriptor `answers`. Returns in each fork, with its exit code, and at the end. Where the
    process that asked is killed, this one ends, and with it the stage at hand, which writes its last checkpoint.
    """
    end_if_told()
    this = os.getpid()
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:  # the stage itself will meet it, and say so
            continue
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        # A signal that came while Python sets up the fork would be forgotten; a blocked one waits.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            os.close(answers)
            end_with_parent(signal.SIGTERM, this)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
                return run(["stage", request["folder"], "--gpus", str(request["gpus"])])
            except KeyboardInterrupt:
                return Interrupted.exit_code
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        with contextlib.suppress(PermissionError, ProcessLookupError):  # the fork was quicker
            os.setpgid(pid, pid)
        with contextlib.suppress(BrokenPipeError):  # whoever asked is gone; the stage goes on
            _say(answers, pid=pid)
            _, status = os.waitpid(pid, 0)
            _say(answers, code=os.waitstatus_to_exitcode(status))
    return 0


def _say(answers: int, **values: int) -> None:
    os.write(answers, json.dumps(values).encode() + b"\n")
