"""torch's elastic agent, with our rules for what starts again: `rank_endings.judge`.

torch's own starts all ranks again whatever ended one, a mistyped setting too, and asks the others to stop before it is
known who failed first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch.distributed.elastic.rendezvous.registry as rendezvous_registry
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous import RendezvousConnectionError, RendezvousParameters
from torch.distributed.elastic.rendezvous.api import RendezvousClosedError, RendezvousError, RendezvousTimeoutError

from bench.execute.rank_endings import ASKED, Ending, Verdict

# torch 2.15 keeps one store over all restarts, in which ranks find the address of a rank that died. With this, each
# start has a store of its own (rendezvous.py says "a new TCPStore for every retry"; dynamic_rendezvous.py makes one).
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}

JOIN_SECONDS = 600  # that the launchers of several nodes wait for each other
END_SECONDS = 20.0  # that the other ranks have to end by themselves once one has
STOP_SECONDS = 110  # that ranks have to write their last checkpoint after a signal
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # that the agent passes on to its ranks

Judge = Callable[[Sequence[Ending], int], Verdict]  # of the endings of this launcher's ranks, and the number of all


@dataclass(frozen=True)
class Ranks:
    """What is started: `command` once for each rank of this node."""

    command: Sequence[str]
    environ: Mapping[str, str]
    processes: int  # on this node
    nodes: int = 1
    rendezvous: str = ""  # HOST:PORT where the launchers of several nodes meet
    name: str = ""  # that these launchers share
    restarts: int = 3


@dataclass
class Outcome:
    """How it ended: `error` is what a verdict said, None when all ranks ended well."""

    error: Exception | None = None
    last: Verdict | None = None
    interrupted: signal.Signals | None = None
    endings: list[Ending] = field(default_factory=list)


class Agent(LocalElasticAgent):
    """Starts a node's ranks, watches them, and starts them again where the verdict on their endings says so."""

    def __init__(
        self, spec: WorkerSpec, judge: Judge, said_by: Callable[[int], str], say: Callable[[str], None]
    ) -> None:
        super().__init__(spec, DefaultLogsSpecs(), shutdown_timeout=STOP_SECONDS)
        self.judge, self.said_by, self.say = judge, said_by, say
        self.outcome = Outcome()
        self.ended: float | None = None  # when rank 0 was first seen to have ended well

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        processes = self._processes()
        if any(process.poll() not in (None, 0) for process in processes.values()):
            verdict = self._verdict(worker_group, processes)
            self.outcome.last = verdict
            if verdict.error is not None:
                self.outcome.error = verdict.error
                self._remaining_restarts = 0
            elif self._remaining_restarts > 0:
                most = worker_group.spec.max_restarts
                number = most - self._remaining_restarts + 1
                words = verdict.words.rstrip(".")
                self.say(f"{words}. All ranks start again from the last checkpoint (restart {number} of {most}).")
        elif self._over(worker_group, processes):  # those that are left hang, and are ended with the agent
            values = dict.fromkeys((worker.global_rank for worker in worker_group.workers), None)
            return RunResult(state=WorkerState.SUCCEEDED, return_values=values)
        return super()._monitor_workers(worker_group)

    def _over(self, worker_group: WorkerGroup, processes: Mapping[int, Any]) -> bool:
        """Whether rank 0, which marks the stage as done, has ended well, and STOP_SECONDS have passed since."""
        if not any(
            worker_group.workers[local].global_rank == 0 and each.poll() == 0 for local, each in processes.items()
        ):
            self.ended = None
            return False
        self.ended = self.ended or time.monotonic()
        return time.monotonic() - self.ended >= STOP_SECONDS

    def _verdict(self, worker_group: WorkerGroup, processes: Mapping[int, Any]) -> Verdict:
        """Wait for the other ranks, kill those that do not end by themselves, and judge."""
        begun, seconds = time.monotonic(), END_SECONDS
        while time.monotonic() - begun < seconds and any(process.poll() is None for process in processes.values()):
            if any(process.poll() in ASKED for process in processes.values()):  # the first may be writing still
                seconds = STOP_SECONDS
            time.sleep(0.05)
        silent = [local for local, process in processes.items() if process.poll() is None]
        for local in silent:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(processes[local].pid, signal.SIGKILL)
            processes[local].wait()
        endings = []
        for local, process in processes.items():
            rank = worker_group.workers[local].global_rank
            code = None if local in silent else process.returncode
            endings.append(Ending(rank, code, self.said_by(rank), process.pid))
        self.outcome.endings = endings
        return self.judge(endings, worker_group.workers[0].world_size)

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = 30) -> None:
        # Ranks write their last checkpoint after SIGTERM and SIGINT alone; any other would end them at once.
        known = death_sig in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
        super()._shutdown(death_sig if known else signal.SIGTERM, timeout)

    def _processes(self) -> dict[int, Any]:
        assert self._pcontext is not None
        return {local: handler.proc for local, handler in self._pcontext.subprocess_handlers.items()}  # type: ignore[attr-defined]

    def _stop_workers(self, worker_group: WorkerGroup) -> None:  # noqa: ARG002
        # Their connections are broken, so nothing that they could still write would be whole.
        self._shutdown(signal.SIGKILL)


def run(ranks: Ranks, judge: Judge, said_by: Callable[[int], str], say: Callable[[str], None]) -> Outcome:
    """Start the ranks of this node, and return how all ended, after as many restarts as may be.

    Args:
        ranks: what is started.
        judge: says what the endings of ranks mean.
        said_by: the last sentence of a rank, by its number.
        say: shows a line to people.

    Raises TimeoutError when the launchers of the other nodes do not come, ConnectionError when they have left.
    """
    parameters = RendezvousParameters(
        backend="c10d",
        endpoint=ranks.rendezvous or "localhost:0",
        run_id=ranks.name or uuid.uuid4().hex,
        min_nodes=ranks.nodes,
        max_nodes=ranks.nodes,
        timeout=JOIN_SECONDS,
        join_timeout=JOIN_SECONDS,
    )
    with _quiet(), _surroundings(ranks.environ):
        try:
            handler = rendezvous_registry.get_rendezvous_handler(parameters)
        except RendezvousConnectionError as error:
            raise TimeoutError(f"nobody answers at {ranks.rendezvous}") from error
        spec = WorkerSpec(
            role="rank",
            local_world_size=ranks.processes,
            entrypoint=ranks.command[0],
            args=tuple(ranks.command[1:]),
            rdzv_handler=handler,
            max_restarts=ranks.restarts,
            monitor_interval=0.1,
        )
        agent = Agent(spec, judge, said_by, say)
        try:
            result = agent.run()
            if result is not None and result.is_failed() and agent.outcome.error is None:
                words = agent.outcome.last.words if agent.outcome.last else "a rank failed"
                agent.outcome.error = RuntimeError(words)
        except SignalException as stopped:
            agent.outcome.interrupted = signal.Signals(stopped.sigval)
        except RendezvousTimeoutError as error:
            raise TimeoutError("the launchers of the other nodes did not come") from error
        except (RendezvousClosedError, RendezvousConnectionError) as error:
            raise ConnectionError("the launcher of another node has left") from error
        except RendezvousError as error:
            raise ConnectionError(str(error)) from error
        finally:
            handler.shutdown()
    return agent.outcome


@contextmanager
def _surroundings(environ: Mapping[str, str]) -> Iterator[None]:
    """Have ranks inherit an environment, and put back what the agent changes in this process."""
    before, handlers = dict(os.environ), {number: signal.getsignal(number) for number in SIGNALS}
    os.environ.update({**environ, **OWN_STORE})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        for number, kept in handlers.items():
            signal.signal(number, kept)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch says of each process that ends: the launcher says it once."""
    loggers = [
        logging.getLogger(name)
        for name in ("torch.distributed.elastic", *list(logging.root.manager.loggerDict))
        if name.startswith("torch.distributed.elastic")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
