"""Programs as forks of a process that has imported libraries: importing torch and mmseg takes a fresh one some 5 s.

A script, too: forked.py REQUESTS, the number of a socket. Nothing of `bench` is imported before a fork, so that each
program reads the package from the folder that it is told. What a `bench` that is such a fork starts in turn, the server
of stages and ranks too, is forked of it. Tests for which it matters that a process is a fresh one, such as those of
what is imported, start one.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import inspect
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

LIBRARIES = ("torch", "torchvision", "mmseg.apis", "mmseg.datasets", "mmseg.models", "pandas", "scipy.stats", "skimage")
LIBRARIES += ("numba", "pydantic", "typer", "rich.progress", "tabulate", "safetensors.torch", "submitit")
BENCH = ["-m", "bench"]
PR_SET_PDEATHSIG = 1  # linux/prctl.h
WORDS_LIMIT = 1 << 20  # bytes of a request


class Started:
    """A program that was forked, with what tests use of `subprocess.Popen`."""

    def __init__(self, answers: socket.socket, *outputs: IO[str]) -> None:
        self._outputs = outputs
        self._answers = answers.makefile("r", encoding="utf-8")
        answers.close()
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.wait() if select.select([self._answers], [], [], 0)[0] else self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._answers.readline())
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self) -> tuple[str, str]:
        """Wait for its end; returns what it printed, if it was started by `popen`."""
        self.wait()
        out, err = (_content(file) for file in self._outputs)
        return out, err


class Forks:
    """A process that has imported libraries, and runs programs as forks of itself. A context manager."""

    def __enter__(self) -> Forks:
        from bench.allocator import started_with

        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=started_with(os.environ))
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()  # at which it ends
        self._process.wait()

    def start(
        self, words: Sequence[object], cwd: Path, environ: Mapping[str, str], out: IO[Any], err: IO[Any]
    ) -> Started:
        """Start `python WORDS`, which are `-m MODULE …`, `-c PROGRAM …` or `SCRIPT …`, in a session of its own."""
        ours, theirs = socket.socketpair()
        request = {"words": [*map(str, words)], "cwd": str(cwd), "environ": dict(environ)}
        socket.send_fds(self._requests, [json.dumps(request).encode()], [theirs.fileno(), out.fileno(), err.fileno()])
        theirs.close()
        return Started(ours, out, err)

    def popen(self, words: Sequence[object], cwd: Path, environ: Mapping[str, str]) -> Started:
        """Start `python WORDS`, and keep what it prints for `communicate`."""
        return self.start(words, cwd, environ, *(tempfile.TemporaryFile("w+") for _ in range(2)))

    def run(self, words: Sequence[object], cwd: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run `python WORDS` to its end; returns its exit code and output."""
        (done,) = self.run_side_by_side([words], cwd, [environ])
        return done

    def run_side_by_side(
        self, commands: Sequence[Sequence[object]], cwd: Path, environs: Sequence[Mapping[str, str]]
    ) -> list[subprocess.CompletedProcess[str]]:
        """Run `python WORDS` for each of `commands` to their ends; returns exit codes and output."""
        started: list[Started] = []
        try:
            started += [self.popen(words, cwd, environ) for words, environ in zip(commands, environs, strict=True)]
            said = [each.communicate() for each in started]
        finally:
            for each in started:
                each.kill()
        return [
            subprocess.CompletedProcess([*words], each.wait(), *texts)
            for words, each, texts in zip(commands, started, said, strict=True)
        ]

    def run_ranks(self, *commands: Sequence[object]) -> list[subprocess.CompletedProcess[str]]:
        """Run `python WORDS` for each of `commands` as a rank of one world, by torch's environment variables."""
        return self.run_side_by_side(commands, Path.cwd(), self.environs_of_ranks(len(commands)))

    @staticmethod
    def environs_of_ranks(world: int) -> list[dict[str, str]]:
        """Environments of so many ranks, which meet at a free port of this machine."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
        return [os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def serve(requests: socket.socket) -> None:
    """Fork a process for each request, which forks the program, and answers with its number and its exit code."""
    while True:
        words, fds, *_ = socket.recv_fds(requests, WORDS_LIMIT, 3)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not words:  # whoever asked has ended, and so does what still runs
            return
        if os.fork() == 0:
            _end_with_parent()
            requests.close()
            answers, out, err = fds
            pid = os.fork()
            if pid == 0:
                _end_with_parent()
                os.close(answers)
                os.setsid()
                become(**json.loads(words), streams={1: out, 2: err})
            for fd in (out, err):
                os.close(fd)
            os.write(answers, f"{pid}\n".encode())
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(BrokenPipeError):
                os.write(answers, f"{code}\n".encode())
            os._exit(0)
        for fd in fds:
            os.close(fd)


def _end_with_parent() -> None:
    """Have this process killed when the one that forked it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def become(words: Sequence[str], cwd: str | None, environ: Mapping[str, str], streams: Mapping[int, int]) -> None:
    """Go on as `python WORDS` in this process, and end it. `streams` has what becomes the standard streams."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        atexit._clear()
        if 0 not in streams:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, fd in streams.items():
            os.dup2(fd, number)
        # Streams of its own, as those of the process above know whether that one's may be sought.
        sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
        if cwd is not None:
            os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environ)
        subprocess.Popen._execute_child = _execute_child
        code = _run(list(words))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException as error:
        traceback.print_exc()
        code = 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)


def _run(words: list[str]) -> int:
    """Do as `python WORDS` does."""
    safe, words = words[0] == "-P", words[words[0] == "-P" :]
    kind, *rest = words if words[0] in ("-m", "-c") else ["", *words]
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    first = str(Path.cwd() if kind else Path(rest[0]).absolute().parent)
    sys.path[:] = [
        *([] if safe else [first]),
        *filter(None, added),
        *(place for place in sys.path if place not in STARTED_WITH),
    ]
    sys.argv[:] = ["-c", *rest[1:]] if kind == "-c" else rest
    if kind == "-c":
        exec(compile(rest[0], "<string>", "exec", dont_inherit=True), sys.modules["__main__"].__dict__)
    elif not kind:
        runpy.run_path(rest[0], run_name="__main__")
    elif "bench.cli" in sys.modules:  # of a `bench` that is such a fork
        sys.modules["bench.cli"].main()
    else:
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    return 0


STARTED_WITH = {str(Path(__file__).parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))}

_exec = subprocess.Popen._execute_child
_SIGNATURE = inspect.signature(_exec)


def _execute_child(self: Any, *given: Any) -> None:
    """Fork where `subprocess` would start another `python -m bench`."""
    told = _SIGNATURE.bind(self, *given).arguments
    args, env = told["args"], os.environ if told["env"] is None else told["env"]
    if [*args][:3] != [sys.executable, *BENCH] and [*args][:4] != [sys.executable, "-P", *BENCH]:
        return _exec(self, *given)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    gc.collect()
    # As subprocess has it, a signal that comes meanwhile reaches a process that can answer it.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    self.pid = os.fork()
    if self.pid == 0:
        gc.freeze()  # a file of the process above that was closed late would close one of this
        streams = {0: told["p2cread"], 1: told["c2pwrite"], 2: told["errwrite"]}
        streams = {number: fd for number, fd in streams.items() if fd != -1}
        _close_all_but({0, 1, 2, *streams.values(), *told["pass_fds"]})
        if told["start_new_session"]:
            os.setsid()
        elif told["process_group"] >= 0:
            os.setpgid(0, told["process_group"])
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        become([str(word) for word in args[1:]], told["cwd"], dict(env), {0: 0} | streams)
    signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
    self._child_created = True
    self._close_pipe_fds(*(told[name] for name in PIPES))
    return None


PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


def _close_all_but(kept: set[int]) -> None:
    for name in [place.name for place in Path("/proc/self/fd").iterdir()]:
        if int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))


def main() -> None:
    with contextlib.redirect_stdout(io.StringIO()):  # what a library says would wait to be printed by each fork
        for library in LIBRARIES:
            importlib.import_module(library)
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
