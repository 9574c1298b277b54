"""A folder from which `bench` is called as on a login node, with a pretraining that waits where a test wants it to."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.execute.jobs.slurm_states import states

if TYPE_CHECKING:
    from forked import Forks
    from local_slurm import LocalSlurm

PATIENCE = 240.0  # seconds for what must come; a safety net

OBJECTIVE = """
import os, signal, time
from pathlib import Path

from bench.objectives.simclr import SimCLR

STOPS = Path(__file__).parent / "stops"


class Pausing(SimCLR):
    '''SimCLR that waits, once, in a step which has a file in `stops`, until a process of its run is asked to stop.'''

    def before_step(self, progress):
        super().before_step(progress)
        stop = f"{progress:.3f}"
        reached = STOPS / f"{stop}-reached-{os.environ.get('RANK', '0')}"
        if not (STOPS / stop).exists() or reached.exists():
            return
        reached.touch()
        asked = STOPS / f"{stop}-asked"
        while not signal.getsignal(signal.SIGTERM).__self__.asked and not asked.exists():
            time.sleep(0.01)
        asked.touch()
"""

CONFIG = '''"""Eight steps on rendered scenes."""
dataset = "coco"
arch = "resnet18w16"
objective = dict(name="pausing.py:Pausing", hidden_dim=16, projection_dim=8)
epochs = 4
batch_size = 4
subset = 8
view_size = 32
optimizer = dict(name="sgd", lr=0.1)
profiles = dict(smoke=dict())
'''


class Place:
    """An empty folder, from which `bench` is called as on a login node."""

    def __init__(self, folder: Path, slurm: LocalSlurm, data: Path, forks: Forks) -> None:
        self.folder, self.slurm, self.data, self.forks = folder, slurm, data, forks
        (folder / "stops").mkdir()
        (folder / "pausing.py").write_text(OBJECTIVE)
        (folder / "mine.py").write_text(CONFIG)
        self.environ = {k: v for k, v in slurm.environ.items() if not k.startswith("BENCH_")} | {"BENCH_PLAIN": "1"}

    def bench(self, *words: object, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        done = self.forks.run(["-m", "bench", *words], self.folder, self.environ | environ)
        assert done.returncode == code, f"{words}:\n{done.stdout}{done.stderr}\n{self.logs()}"
        return done

    def run(self, *words: object, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.bench("run", "--profile", "smoke", "--data-root", self.data, *words, **more)

    def stop_at(self, step: int) -> Path:
        """Have the training wait in that step of eight, and return the file that says it is there."""
        (self.folder / "stops" / f"{step / 8:.3f}").touch()
        return self.folder / "stops" / f"{step / 8:.3f}-reached-0"

    def status(self) -> dict[str, tuple[str, str]]:
        """{title: (state, reason)} as `bench status` says it."""
        printed = self.forks.run(["-m", "bench", "status", "--json"], self.folder, self.environ)
        return {row["stage"]: (row["state"], row["reason"]) for row in json.loads(printed.stdout)}

    def job(self, title: str) -> dict[str, Any]:
        """The `job.json` of a stage."""
        (file,) = (self.folder / "runs").glob(f"{title.replace(' ', '/')}-*/job.json")
        return json.loads(file.read_text())

    def states(self, *jobs: str) -> dict[str, Any]:
        """What our own reading of Slurm's answers says of jobs, asked within its environment."""
        before = dict(os.environ)
        os.environ.update(self.slurm.environ)
        try:
            return states(jobs)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def state(self, job: str) -> str:
        return str(self.states(job)[job].word)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < until, f"not {what}:\n{self.logs()}\n{self.slurm('scontrol', 'show', 'job')}"
            time.sleep(0.1)

    def logs(self) -> str:
        files = [*self.folder.glob("runs/slurm/*.out"), *self.folder.glob("runs/*/*/log.txt")]
        return "\n".join(f"{file}:\n{file.read_text()}" for file in sorted(files))
