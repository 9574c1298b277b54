"""What a job of Slurm does: run one stage as a process, and have it write its last checkpoint before the job ends.

Two signals announce an end. SIGUSR2 comes before the time limit, and at a pre-emption where a site has it so: submitit
calls `checkpoint`, and requeues the job. SIGTERM comes at other pre-emptions, after which the job is requeued, too, and
when a job is cancelled; Slurm says which it is. A lost node announces nothing, and Slurm requeues the job. Each time,
the stage goes on from what lies in its folder; nothing is handed on by the job itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import DelayedSubmission

from bench.allocator import started_with
from bench.errors import Interrupted
from bench.execute.jobs.failure import write_failure
from bench.execute.jobs.slurm_states import asked
from bench.execute.parent import ending_with_this
from bench.execute.stage_ending import how_it_ended
from bench.execute.stage_file import read_stage
from bench.execute.stage_log import LOG
from bench.execute.stage_server import PATIENCE_SECONDS
from bench.import_path import command
from bench.machine import WITHIN_GRID

POLL_SECONDS = 0.1
PORTS = range(15000, 30000)  # where the nodes of a job meet; below those that systems hand out
STOPPED = (
    Interrupted.exit_code,
    -signal.SIGINT,
    -signal.SIGTERM,
)  # the signals themselves where it was still importing


@dataclass
class StageJob:
    """Runs the stage in a folder, on this node of a job. What submitit pickles and calls."""

    folder: Path  # absolute
    processes: int  # on each node
    nodes: int = 1
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _killed: bool = field(default=False, init=False, repr=False)  # its last checkpoint took too long

    def __call__(self) -> None:
        """Run the stage to its end, and leave with its exit code where that is not 0."""
        signal.signal(signal.SIGTERM, self._terminated)  # which submitit would pass over
        _forget_partial()
        self._process = subprocess.Popen(self.command(), env=self._environ(), start_new_session=True, preexec_fn=_begin)
        # No lock is held while this waits: a handler may ask for the same process.
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self._end()

    def checkpoint(self) -> DelayedSubmission:
        """Have the stage write its last checkpoint, and return what goes on after the job was requeued.

        submitit calls it before the time limit. Where the stage ended meanwhile, the job ends here, with its exit code.
        """
        self._stop(signal.SIGINT)
        if not self._stopped():
            self._end()
            sys.exit(0)
        print("the stage was stopped; it goes on from its last checkpoint", flush=True)
        return DelayedSubmission(replace(self))

    def command(self) -> list[str]:
        """Return the command that runs the stage on this node."""
        words = command("stage", str(self.folder), "--gpus", str(self.processes))
        if self.nodes > 1:
            words += ["--nodes", str(self.nodes), "--rendezvous", rendezvous()]
        return words

    def _environ(self) -> dict[str, str]:
        return ending_with_this(started_with(os.environ) | {WITHIN_GRID: "1", "BENCH_PLAIN": "1"})

    def _terminated(self, _number: int, _frame: FrameType | None) -> NoReturn:
        """End the stage with its last checkpoint, and the job with it; requeue that if it is being pre-empted."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # Some sites send the signal to every process of the job: a SIGINT on top would end the stage at once.
        self._stop(signal.SIGTERM)
        if self._stopped() and JobEnvironment().global_rank == 0:
            _requeue_if_preempted(JobEnvironment().job_id)
        self._end()
        sys.exit(0)

    def _stop(self, number: signal.Signals) -> None:
        """Send the stage's processes a signal, and wait for its last checkpoint."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        until = time.monotonic() + PATIENCE_SECONDS
        while _running(self._process.pid) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            if _running(self._process.pid):
                self._killed = True
                os.killpg(self._process.pid, signal.SIGKILL)

    def _stopped(self) -> bool:
        """Whether the stage, which has ended, did so because it was told to, and goes on from its last checkpoint."""
        return self._killed or self._code() in STOPPED

    def _code(self) -> int:
        """The exit code of the stage, which has ended; a stage that has not started was stopped before it did."""
        if self._process is None:
            return Interrupted.exit_code
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def _end(self) -> None:
        """Leave with the exit code of the stage where that is not 0; of a signal, say which it was."""
        code = Interrupted.exit_code if self._stopped() else self._code()
        if code < 0:
            stage = read_stage(self.folder)
            words = how_it_ended(code, stage.task or stage.recipe)
            write_failure(self.folder, "failed", words, LOG, code)
            print(f"{stage.title}: {words}", flush=True)
        if code:
            sys.exit(code if code > 0 else 128 - code)


def _requeue_if_preempted(job: str) -> None:
    """Requeue this job if Slurm is about to take its nodes: of one that ends by itself before, Slurm says it failed."""
    taken = preempted(job)
    if taken and asked(["scontrol", "requeue", job]) is not None:
        print("pre-empted: the stage was stopped, and the job is requeued", flush=True)
        return
    # Where Slurm does not answer, wait for it to end the job, which it then requeues, or not, by itself.
    while taken is not False:
        time.sleep(1)


def preempted(job: str) -> bool | None:
    """Whether Slurm takes the nodes from a job that runs, and does not end it for good; None: it does not answer."""
    told = asked(["scontrol", "--oneliner", "show", "job", job])
    if told is None:
        return None
    fields = dict(word.partition("=")[::2] for word in told.split() if "=" in word)
    return fields.get("JobState") == "RUNNING" and fields.get("PreemptTime", "None") not in ("None", "")


def rendezvous() -> str:
    """Return HOST:PORT where the processes of a job's nodes meet: on its first node, at a port of the job's own."""
    first = os.environ.get("SLURM_LAUNCH_NODE_IPADDR") or JobEnvironment().hostnames[0]
    number = int(os.environ.get("SLURM_JOB_ID", "0"))
    return f"{first}:{PORTS[number % len(PORTS)]}"


def _begin() -> None:
    """Prepare the stage's process before its program starts; no other thread runs here."""
    # Some sites send it to every process of the job, and it would end the stage.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _running(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None


def _forget_partial() -> None:
    """Remove what a job that was killed left of its own file, over which submitit would stumble."""
    with contextlib.suppress(KeyError, OSError):
        file = JobEnvironment().paths.submitted_pickle
        file.with_suffix(f"{file.suffix}.save_tmp").unlink(missing_ok=True)
