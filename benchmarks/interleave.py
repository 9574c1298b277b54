"""Contenders measured in turn, so that a machine which drifts drifts for all alike.

Each contender is a process of its own (of this environment or of the peers') that makes itself ready once, and then
takes one sample whenever it is told to, while all others sleep. What is compared are ratios within a round.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
# `make peers` makes it; another checkout's may serve.
PEERS = Path(os.environ.get("BENCHMARKS_PEERS") or ROOT / ".venv-peers") / "bin" / "python"
PATIENCE_SECONDS = 10  # for a process to leave when it has nothing left to do


def give_up(sentence: str) -> NoReturn:
    """End this benchmark with one sentence that says what is wrong and the remedy."""
    print(sentence, file=sys.stderr, flush=True)
    raise SystemExit(2)


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Args:
        name: as the table shows it.
        target: "module:function" below benchmarks/; `function(**arguments)` returns a callable that does one sample's
            work and returns how many units (images, steps, queries) it was.
        arguments: JSON-able.
        about: one line: what this is.
        peer: run by the peers' environment.
        environ: added to the environment, e.g. LD_PRELOAD.
        threads: OpenMP threads; None leaves it to torch.
        warmup: samples that are taken before the first round and thrown away.
    """

    name: str
    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    peer: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    warmup: int = 1


@dataclass(frozen=True)
class Sample:
    """One measurement: the seconds that `units` took."""

    seconds: float
    units: float


@dataclass
class Measured:
    """All samples of one contender; `ready_seconds` is from the start of its process to the end of its warm-up."""

    contender: Contender
    samples: list[Sample]
    ready_seconds: float
    peak_mib: float
    peak_device_mib: float = 0.0  # memory of a GPU that torch has handed out

    def heard(self, answer: Mapping[str, Any]) -> None:
        """Take up the memory that the process says it has held."""
        self.peak_mib = max(self.peak_mib, answer["peak_mib"])
        self.peak_device_mib = max(self.peak_device_mib, answer["peak_device_mib"])

    def plain(self) -> dict[str, Any]:
        """Return it as it is written to results/benchmarks/."""
        return {
            "about": self.contender.about,
            "peer": self.contender.peer,
            "arguments": without_machine(dict(self.contender.arguments)),
            "threads": self.contender.threads,
            "samples": [{"seconds": s.seconds, "units": s.units} for s in self.samples],
            "ready_seconds": round(self.ready_seconds, 3),
            "peak_mib": round(self.peak_mib, 1),
            **({"peak_device_mib": round(self.peak_device_mib, 1)} if self.peak_device_mib else {}),
        }


def without_machine(value: Any) -> Any:
    """Return JSON-able values with paths as this project sees them: relative to it, and of others the name alone."""
    if isinstance(value, dict):
        return {key: without_machine(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_machine(one) for one in value]
    if isinstance(value, str) and Path(value).is_absolute():
        path = Path(value)
        return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
    return value


class Worker:
    """A contender's process."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        python = PEERS if contender.peer else Path(sys.executable)
        if not python.is_file():
            give_up(f"{contender.name} needs the peers' environment, and {python} is missing; run make peers.")
        environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])}
        environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        if contender.threads is not None:
            environ["OMP_NUM_THREADS"] = str(contender.threads)
        order = {"target": contender.target, "arguments": dict(contender.arguments), "threads": contender.threads}
        self.process = subprocess.Popen(
            [str(python), str(ROOT / "benchmarks" / "worker.py"), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ | dict(contender.environ),
        )

    def ask(self, word: str) -> dict[str, Any]:
        """Say one word and wait for the answer. Raises RuntimeError when the contender failed or its process died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"{self.contender.name} ended with code {self.process.wait()}; its errors are above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.contender.name} failed: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process, if need be by force."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def measure(contenders: Sequence[Contender], rounds: int, *, resident: bool = True) -> dict[str, Measured]:
    """Take `rounds` samples of each contender in turn, starting with another one each round.

    `resident` keeps all processes alive throughout; without it each is started anew for every sample (for contenders
    that do not fit into memory together).
    """
    names = [contender.name for contender in contenders]
    if len(set(names)) < len(names):
        raise ValueError(f"two contenders have the same name: {names}")
    measured: dict[str, Measured] = {}
    alive: dict[str, Worker] = {}

    def begin(contender: Contender) -> None:
        worker = alive[contender.name] = Worker(contender)
        ready = worker.ask(f"ready {contender.warmup}")
        measured.setdefault(contender.name, Measured(contender, [], ready["seconds"], 0.0)).heard(ready)

    try:
        if resident:
            for contender in contenders:
                begin(contender)
        for number in range(rounds):
            for contender in [*contenders[number % len(contenders) :], *contenders[: number % len(contenders)]]:
                if not resident:
                    begin(contender)
                answer = alive[contender.name].ask("sample")
                mine = measured[contender.name]
                mine.samples.append(Sample(answer["seconds"], answer["units"]))
                mine.heard(answer)
                if not resident:
                    alive.pop(contender.name).close()
    finally:
        for worker in alive.values():
            worker.close()
    return {name: measured[name] for name in names}
