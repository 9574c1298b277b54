"""Starting `bench` as a fork of a process that has imported torch and mmseg, and finding what it started.

A start then takes tenths of a second where a fresh process takes six, so that a campaign of hundreds of kills is
affordable. What is forked runs the package's code as it is: the server of stages is a fork as well, and the ranks of
a stage are processes of their own. A share of the campaign starts fresh processes throughout.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from injected import Calls

HEAVY = ("bench.stages.pretrain", "bench.stages.convert", "bench.stages.linear", "bench.stages.knn")
HEAVY += ("bench.stages.segmentation.finetune", "bench.execute.local", "bench.execute.schedule", "bench.results.tables")
PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36
SERVER = "stage-server"  # what such a process is called in /proc


def prctl(option: int, value: Any) -> None:
    """Call Linux's prctl."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def prepare() -> None:
    """Import what stages need, and take up whatever a killed process leaves running."""
    for module in HEAVY:
        importlib.import_module(module)
    prctl(PR_SET_CHILD_SUBREAPER, 1)


class Forked:
    """What the package uses of `subprocess.Popen`, for a command that is `bench`: a fork of this process."""

    calls: Calls

    def __init__(self, command: Sequence[str], stdin: int | None = None, env: Mapping[str, str] | None = None,
                 pass_fds: Sequence[int] = (), start_new_session: bool = False, **_: Any) -> None:  # fmt: skip
        self.args, words = command, list(command[command.index("bench") + 1 :])
        self.returncode: int | None = None
        reading, writing = os.pipe() if stdin == subprocess.PIPE else (-1, -1)
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(Exception):
                if start_new_session:
                    os.setsid()
                if stdin == subprocess.PIPE:
                    os.close(writing)
                    os.dup2(reading, 0)
                    sys.stdin = os.fdopen(0)
                prctl(PR_SET_NAME, SERVER.encode())
                os.environ.clear()
                os.environ.update(env or {})
                for number in pass_fds:
                    os.set_inheritable(number, True)
                leave(run_words(words), self.calls)
            os._exit(70)
        if stdin == subprocess.PIPE:
            os.close(reading)
            self.stdin = os.fdopen(writing, "wb", buffering=0)

    def poll(self) -> int | None:
        """Return the exit code, as `subprocess` has it, or None."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end."""
        assert timeout is None
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def communicate(self) -> None:
        """Close its input, and wait for the end."""
        self.stdin.close()
        self.wait()

    def kill(self) -> None:
        """End it at once."""
        os.kill(self.pid, signal.SIGKILL)


def run_words(words: Sequence[str]) -> int:
    """Run a command line of `bench` in this process. A fork of the stage server comes back from here, too."""
    from bench import cli

    return cli.run(words)


def leave(code: int, calls: Calls) -> None:
    """End this process without what Python does at its end, which belongs to the one that it was forked from."""
    calls.ended()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def start(words: Sequence[str], folder: Path, calls: Calls) -> int:
    """Start `bench WORDS` in a folder, with all that it prints in `out.txt`; return the process id."""
    pid = os.fork()
    if pid:
        return pid
    with contextlib.suppress(Exception):
        os.setsid()
        os.chdir(folder)
        out = os.open("out.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        Forked.calls = calls
        module = importlib.import_module("bench.execute.stage_server")
        own = {name: getattr(subprocess, name) for name in ("PIPE", "TimeoutExpired", "STDOUT", "DEVNULL")}
        module.subprocess = SimpleNamespace(**own, Popen=Forked)  # type: ignore[attr-defined]
        _name_stages(calls)
        calls.install()
        leave(run_words(words), calls)
    os._exit(70)


def _name_stages(calls: Calls) -> None:
    """Have each stage count under its kind, from where it begins."""
    module = importlib.import_module("bench.execute.stage")
    original = module.run_stage

    def run_stage(folder: Path, *words: Any, **named: Any) -> None:
        calls.becomes(folder.absolute().parent.name)
        original(folder, *words, **named)

    module.run_stage = run_stage  # type: ignore[attr-defined]


def start_fresh(words: Sequence[str], folder: Path) -> int:
    """The same as a process of its own."""
    with (folder / "out.txt").open("ab") as out:
        command = [sys.executable, "-m", "bench", *words]
        return subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, start_new_session=True).pid


@dataclass(frozen=True)
class Process:
    """One of a tree, and what it is: "grid", "server", "stage", "rank" or "worker"."""

    pid: int
    role: str


def tree(root: int) -> list[Process]:
    """Return the processes below a start, the start first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))

    def below(pid: int, role: str) -> Iterator[Process]:
        yield Process(pid, role)
        for child in children.get(pid, []):
            yield from below(child, _role(child, role))

    return list(below(root, "grid"))


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None  # it has just ended


def _role(pid: int, above: str) -> str:
    place = Path("/proc") / str(pid)
    try:
        name, words = (place / "comm").read_text().strip(), (place / "cmdline").read_bytes()
        ranked = b"\0RANK=" in (place / "environ").read_bytes()
    except OSError:
        return "gone"
    if above == "grid":
        return "server" if name == SERVER or b"serve-stages" in words else "stage"
    if above == "server":
        return "stage"
    return "rank" if above == "stage" and ranked else "worker"
