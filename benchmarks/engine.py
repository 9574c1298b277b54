"""Contenders measured in turn, so that a machine whose speed drifts drifts for all of them alike.

Each contender is a process of its own, in this environment or in the peers', that makes itself ready once and then
takes one sample whenever it is told to, while the others wait. What is compared are ratios within a round.

Why this is not pyperf or asv: pyperf runs a benchmark's worker to its end before it starts the next, and asv, which can
take turns, starts a process for every sample. Here some contenders need half a minute to get ready for a sample of a
second, and one round crosses two virtual environments.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measurements import PEERS, ROOT, Measured, Sample, without_machine

from bench.allocator import started_with

CLOSING_SECONDS = 10  # for a process to end by itself
IN_STAGES = ("steps:", "views:", "view_stages:")  # contenders that do what a pretraining stage does

Aim = float | Mapping[str, float]  # a goal of all classes of machine, or of each; of those left out there is none


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    `target` is "module:function" below benchmarks/; `function(**arguments)` returns a callable that does one sample's
    work and returns how many units (images, steps, queries) it was.
    """

    name: str  # as the page shows it
    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)  # JSON-able; added to those of the comparison
    about: str = ""  # what this is, in a few words
    peer: bool = False  # whether the peers' environment runs it
    threads: int | None = None  # of OpenMP and torch; None takes the comparison's number
    warmup: int | None = None  # samples that are thrown away; None takes the comparison's number
    goal: Aim | None = None  # the ratio to the baseline that is aimed at
    goal_best_peer: Aim | None = None  # the ratio to the fastest peer that is aimed at
    quick: bool = True  # whether `--quick` tries it, too


class NoSample(Exception):
    """A contender that gives no sample; its text says why. `fault` is False where the machine is to blame."""

    def __init__(self, reason: str, *, fault: bool) -> None:
        super().__init__(reason)
        self.fault = fault


class Worker:
    """A contender's process, the first of a session of its own, so that what it starts ends with it."""

    def __init__(self, contender: Contender) -> None:
        python = PEERS if contender.peer else Path(sys.executable)
        if not python.is_file():
            raise NoSample("the peers' environment is missing; run make peers", fault=False)
        path = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")])
        # Threads that spin while they wait would take time from whoever shares the machine.
        environ = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ | {"PYTHONPATH": path.rstrip(os.pathsep)}
        if contender.threads is not None:
            environ["OMP_NUM_THREADS"] = str(contender.threads)
        if contender.target.startswith(IN_STAGES):  # with a stage's allocator, which its loader's workers inherit
            environ = started_with(environ)
        order = {"target": contender.target, "arguments": dict(contender.arguments), "threads": contender.threads}
        self.process = subprocess.Popen(
            [str(python), str(ROOT / "benchmarks" / "worker.py"), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            start_new_session=True,
        )

    def ask(self, words: str, seconds: float = math.inf) -> dict[str, Any]:
        """Write one line and return the answer. Raises NoSample for an error, a dead process and a late answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = b""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{words}\n".encode())
            self.process.stdin.flush()
            wait = None if seconds == math.inf else max(0.0, seconds)
            if not select.select([self.process.stdout], [], [], wait)[0]:
                raise NoSample(f"too slow: no answer after {seconds:.0f} s", fault=False)
            line = self.process.stdout.readline()
        if not line:
            raise NoSample(f"its process ended with code {self.process.wait()}; its errors are above", fault=True)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise NoSample(answer["error"], fault=True)
        return answer

    def close(self, *, force: bool = False) -> None:
        """End the process and all that it started: by the end of its input, by SIGTERM, at last by SIGKILL."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL) if force else (0, signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + CLOSING_SECONDS
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
                while time.monotonic() < deadline:
                    self.process.poll()
                    os.killpg(self.process.pid, 0)
                    time.sleep(0.02)
        self.process.wait()
        self.process.stdout.close()


def measure(
    contenders: Sequence[Contender], rounds: int, *, deadline: float = math.inf, resident: bool = True
) -> tuple[dict[str, Measured], dict[str, NoSample]]:
    """Take `rounds` samples of each contender in turn, beginning with another one each round.

    Args:
        contenders: with different names; `threads` and `warmup` are set.
        rounds: fewer are taken where the next one would end after the deadline.
        deadline: by time.monotonic(). Whoever takes more than twice its share of the time that is left to get ready, or
            for its first sample, is left out, so that the others have theirs.
        resident: whether all processes stay alive; else each is started anew for every sample (for contenders that do
            not fit into memory together).

    Returns:
        All that was measured, in whole rounds, by contender; and what was left out, with the reason.
    """
    if len({one.name for one in contenders}) < len(contenders):
        raise ValueError(f"two contenders have the same name: {[one.name for one in contenders]}")
    measured: dict[str, Measured] = {}
    left_out: dict[str, NoSample] = {}
    alive: dict[str, Worker] = {}
    longest = 0.0

    def close(name: str, *, force: bool = False) -> None:
        if name in alive:
            alive.pop(name).close(force=force)

    def attempt(one: Contender, work: Callable[[Contender, float], None], share: float) -> bool:
        seconds = (deadline - time.monotonic()) * share
        try:
            if seconds <= 0:
                raise NoSample("no time was left", fault=False)
            work(one, seconds)
        except NoSample as reason:
            left_out[one.name] = reason
            close(one.name, force=True)
            return False
        return True

    def keep_memory(one: Contender, answer: Mapping[str, float]) -> None:
        for key in ("peak_mib", "peak_device_mib"):
            setattr(measured[one.name], key, max(getattr(measured[one.name], key), answer[key]))

    def begin(one: Contender, seconds: float) -> None:
        worker = alive[one.name] = Worker(one)
        answer = worker.ask(f"ready {one.warmup or 0}", seconds)
        facts = {"about": one.about, "peer": one.peer, "threads": one.threads, "ready_seconds": answer["seconds"]}
        measured.setdefault(one.name, Measured(arguments=without_machine(one.arguments), **facts))
        keep_memory(one, answer)

    def take(one: Contender, seconds: float) -> None:
        if not resident:
            begin(one, seconds)
        answer = alive[one.name].ask("sample", seconds)
        measured[one.name].samples.append(Sample(**answer))
        keep_memory(one, answer)
        if not resident:
            close(one.name)

    try:
        ready: list[Contender] = []
        for number, one in enumerate(contenders):
            steps = len(ready) + 2 * (len(contenders) - number)  # until all are ready and have a sample
            if not resident or attempt(one, begin, 2 / (steps + 1)):
                ready.append(one)
        for number in range(rounds):
            start = time.monotonic()
            if not ready or start + longest > deadline:
                break
            turns = [*ready[number % len(ready) :], *ready[: number % len(ready)]]
            shares = [1.0 if number else 2 / (len(turns) - place + 1) for place in range(len(turns))]
            taken = [one for one, share in zip(turns, shares, strict=True) if attempt(one, take, share)]
            if number and len(taken) < len(turns):
                break
            ready = [one for one in ready if one in taken]
            longest = max(longest, time.monotonic() - start)
    finally:
        for process in (worker.process for worker in alive.values()):
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # all at once, since ending takes a second or more
        for name in list(alive):
            close(name)
    # A contender that took part in whole rounds was not left out; only those rounds count.
    whole = min((len(measured[one.name].samples) for one in ready), default=0)
    for one in ready:
        measured[one.name].samples = measured[one.name].samples[:whole]
        if one.name in left_out and not left_out[one.name].fault:
            del left_out[one.name]
    return {one.name: measured[one.name] for one in ready if whole}, left_out
