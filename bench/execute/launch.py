"""Start the processes of one stage, here and on other nodes, and start them again where one dies.

What is promised, and in what time: docs/several_processes.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import allocator
from bench.errors import BadInput, Interrupted, StageFailed
from bench.execute.rank_endings import REPORTS, STARTED_BY, Ending, Verdict, forget_reports, judge, said_by
from bench.execute.stage_file import StageFile, read_done
from bench.execute.stage_log import LOG, near
from bench.import_path import command
from bench.machine import cores

RESTARTS = "BENCH_MAX_RESTARTS"


def chosen_restarts(environ: Mapping[str, str] | None = None) -> int:
    """Return how often ranks may start again, by the environment; BadInput for what is no such number."""
    given = (os.environ if environ is None else environ).get(RESTARTS, "")
    if given and not (given.isdecimal() and int(given) <= 1000):
        raise BadInput(f"{RESTARTS}={given} is no number of restarts; set it to 0 or more, such as 3.")
    return int(given) if given else 3


@dataclass(frozen=True)
class Layout:
    """How many processes train a stage, and where."""

    gpus: int = 1  # processes on this node
    nodes: int = 1
    rendezvous: str | None = None  # HOST:PORT where the launchers of the nodes meet; HOST is one of them
    restarts: int = 3  # of all ranks, after one died

    @property
    def world(self) -> int:
        """Processes on all nodes."""
        return self.gpus * self.nodes

    def check(self) -> None:
        """Raise BadInput for nodes that could not meet, or a place to meet that nobody comes to."""
        if self.nodes > 1 and self.rendezvous is None:
            raise BadInput(f"--nodes {self.nodes} needs --rendezvous HOST:PORT, with HOST one of the nodes.")
        if self.nodes == 1 and self.rendezvous is not None:
            raise BadInput("--rendezvous is for several nodes; give --nodes N, or leave it out.")
        host, _, port = (self.rendezvous or "localhost:1").rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise BadInput(f"--rendezvous {self.rendezvous} is no HOST:PORT; give it as in node0:29500.")


def launch(folder: Path, stage: StageFile, layout: Layout, more: list[str], holder: bool = True) -> None:
    """Run a stage's processes to their end.

    Args:
        folder: the stage's.
        stage: what is run.
        layout: how many processes, and where.
        more: options of `bench stage` that each process gets.
        holder: whether this launcher holds the stage, or has joined the one that does.

    Raises what the ranks raised, once for all: BadInput, Interrupted, StageFailed; StageFailed when ranks died more
    often than they may be started again.
    """
    from bench.execute import elastic
    from bench.nn.collectives import collective_minutes

    minutes = collective_minutes()
    if holder:
        forget_reports(folder)
    (folder / REPORTS).mkdir(exist_ok=True)
    threads = max(1, cores() // layout.gpus)
    environ = allocator.started_with(os.environ) | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    environ[STARTED_BY] = str(os.getpid())
    ranks = elastic.Ranks(
        command=command("stage", str(folder), *more),
        environ=environ,
        processes=layout.gpus,
        nodes=layout.nodes,
        rendezvous=layout.rendezvous or "",
        name=f"{stage.fingerprint}-{layout.nodes}x{layout.gpus}" if layout.rendezvous else "",
        restarts=layout.restarts,
    )
    log = str(near(folder / LOG))

    def verdict_on(endings: Sequence[Ending], world: int) -> Verdict:
        return judge(stage.title, endings, world, stage.task or stage.recipe, log, minutes)

    try:
        outcome = elastic.run(ranks, verdict_on, partial(said_by, folder), partial(print, flush=True))
    except TimeoutError as error:
        raise StageFailed(
            f"{stage.title}: not all {layout.nodes} nodes came to {layout.rendezvous} within "
            f"{elastic.JOIN_SECONDS / 60:g} minutes ({error}); start bench stage on each of them."
        ) from error
    except ConnectionError as error:
        raise _of_another(folder, stage, layout, error) from error
    done = read_done(folder, stage.fingerprint, stage.stage_kind.outputs) is not None
    if outcome.interrupted is not None and not done:
        words = next((words for rank in range(layout.world) if (words := said_by(folder, rank))), "")
        raise Interrupted(words or f"{stage.title} was interrupted; its last checkpoint stays.")
    if isinstance(outcome.error, (BadInput, StageFailed, Interrupted)):
        raise outcome.error
    if outcome.error is not None:
        words = str(outcome.error).rstrip(".")
        raise StageFailed(
            f"{words}. It was started again {layout.restarts} times; its last checkpoint stays: "
            f"look at {log}, then run it again to go on."
        )
    if not done and holder:
        raise StageFailed(f"{stage.title}: its {layout.world} processes ended without a result (log: {log}).")
    if holder:
        forget_reports(folder)


def _of_another(folder: Path, stage: StageFile, layout: Layout, error: ConnectionError) -> StageFailed:
    """What to raise where another node's launcher has left: what one of its ranks said, if it said anything."""
    said = [words for rank in range(layout.world) if (words := said_by(folder, rank))]
    own = [words for words in said if "another rank" not in words]
    words = own[0] if own else f"{stage.title}: {error}; its output says why, and running both again goes on."
    return StageFailed(words)
