"""Slurm as an executor: one job a stage, which waits for those of its parents; equal stages are arrays.

submitit writes the scripts and hands them to sbatch. Its files lie in `slurm/` of the work folder.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from bench.errors import BadInput
from bench.execute.jobs.executor import State
from bench.execute.jobs.failure import now
from bench.execute.jobs.process import host
from bench.execute.jobs.slurm_options import TIME_OUTS, Resources, SlurmOptions
from bench.execute.jobs.slurm_states import ANSWER_SECONDS, SILENT, states
from bench.execute.jobs.submission import Submission, read_submission, write_submission
from bench.execute.stage_log import LOG
from bench.import_path import python_options

if TYPE_CHECKING:
    from bench.execute.grid import Grid
    from bench.plan import Stage

FILES = "slurm"  # in the work folder: scripts, what jobs print besides their stages, pickles
COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "srun")


@dataclass
class Batch:
    """Stages of equal resources that wait for the same jobs, and can so run side by side: an array."""

    resources: Resources
    after: tuple[str, ...]  # ids of jobs
    stages: list[Stage] = field(default_factory=list)


class SlurmExecutor:
    """Runs the stages of a grid as jobs of Slurm."""

    name = "slurm"

    def __init__(self, options: SlurmOptions | None = None) -> None:
        self.options = options or SlurmOptions()

    @property
    def processes(self) -> int:
        """Processes of a stage that several can share, over all its nodes."""
        return self.options.nodes * max(1, self.options.gpus_per_node or 1)

    def check(self) -> None:
        """Refuse what Slurm would refuse, before anything is planned or written. Raises BadInput."""
        absent = [command for command in COMMANDS if shutil.which(command) is None]
        if absent:
            raise BadInput(
                f"--executor slurm needs Slurm's {absent[0]}, which is not on this machine; give the command on a "
                "login node of the cluster, or leave --executor out."
            )
        most = self.options.resources(self.options.gpus_per_node or 0, several=True)
        words = ["sbatch", "--test-only", *self.options.words(most), "--wrap", "true"]
        try:
            tried = subprocess.run(
                words, capture_output=True, text=True, check=False, errors="replace", timeout=ANSWER_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise BadInput(
                f"Slurm's controller did not answer within {ANSWER_SECONDS:.0f} s; try again later."
            ) from error
        if tried.returncode and "Required node not available" not in tried.stderr:  # those come back
            raise BadInput(f"Slurm does not take such jobs ({_said(tried.stderr)}); correct the options for it.")

    def submit(self, grid: Grid, folders: Mapping[str, Path], to_do: Sequence[Stage]) -> list[Submission]:
        """Submit a job for each stage that has none in Slurm's queue, and return the jobs of all, in their order."""
        if "%" in str(grid.work_dir.absolute()):
            raise BadInput(f"Slurm puts something else in the place of % in {grid.work_dir}; give another --work-dir.")
        grid.work_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(grid.work_dir / "submitting.lock"):  # two who submit at once would both find no job
            jobs = self._queued(folders, to_do)
            for batch in self._batches(to_do, jobs):
                ids = self._submitted(batch, folders, grid.work_dir)
                for stage, job in zip(batch.stages, ids, strict=True):
                    jobs[stage.fingerprint] = Submission(
                        executor=self.name, id=job, host=host(), submitted=now(), log=LOG, after=batch.after
                    )
                    write_submission(folders[stage.fingerprint], jobs[stage.fingerprint])
        return [jobs[stage.fingerprint] for stage in to_do]

    def states(self, submissions: Sequence[Submission]) -> dict[str, State]:
        """Ask Slurm for the states of jobs; all are "unknown" where it does not answer."""
        return states(each.id for each in submissions)

    def cancel(self, submissions: Sequence[Submission]) -> None:
        """End jobs: those that wait at once, those that run after the last checkpoints of their stages."""
        ids = [each.id for each in submissions]
        if not ids:
            return
        if shutil.which("scancel") is None:
            raise BadInput("Slurm's scancel is not on this machine; give the command on a login node of the cluster.")
        done = subprocess.run(["scancel", *ids], capture_output=True, text=True, check=False, errors="replace")
        if done.returncode:
            raise BadInput(f"Slurm did not cancel {', '.join(ids)} ({_said(done.stderr)}); try again.")

    def _queued(self, folders: Mapping[str, Path], to_do: Sequence[Stage]) -> dict[str, Submission]:
        """{fingerprint: job} of stages that have one that waits or runs.

        One that waits for a parent which has none has waited for a job that did not end well: Slurm will cancel it.
        """
        noted = {stage.fingerprint: read_submission(folders[stage.fingerprint]) for stage in to_do}
        ours = {key: job for key, job in noted.items() if job is not None and job.executor == self.name}
        known = self.states(list(ours.values()))
        if silent := [state.reason for state in known.values() if state.word == "unknown" and state.reason == SILENT]:
            raise BadInput(f"{silent[0]}, so that it is not known which stages run already; try again later.")
        there: dict[str, Submission] = {}
        for stage in to_do:  # parents first
            job = ours.get(stage.fingerprint)
            word = known[job.id].word if job is not None and job.id in known else "unknown"
            in_vain = any(parent.fingerprint in noted.keys() - there.keys() for parent in stage.parents.values())
            if job is not None and (word == "running" or (word == "waiting" and not in_vain)):
                there[stage.fingerprint] = job
        return there

    def _batches(self, to_do: Sequence[Stage], jobs: Mapping[str, Submission]) -> Iterator[Batch]:
        """Group the stages without a job, each group after those that it waits for have their ids in `jobs`."""
        from bench.execute.devices import gpus_of

        left = [stage for stage in to_do if stage.fingerprint not in jobs]
        planned = {stage.fingerprint for stage in to_do}
        while left:
            missing = {stage.fingerprint for stage in left}
            batches: dict[tuple[Resources, tuple[str, ...]], Batch] = {}
            for stage in left:
                parents = [parent.fingerprint for parent in stage.parents.values()]
                if missing.intersection(parents):
                    continue
                after = tuple(dict.fromkeys(jobs[parent].id for parent in parents if parent in planned))
                gpus = gpus_of(stage, max(1, self.options.gpus_per_node or 1))
                resources = self.options.resources(gpus, several=stage.stage_kind.several_gpus)
                batches.setdefault((resources, after), Batch(resources, after)).stages.append(stage)
            yield from batches.values()
            done = {stage.fingerprint for batch in batches.values() for stage in batch.stages}
            left = [stage for stage in left if stage.fingerprint not in done]

    def _submitted(self, batch: Batch, folders: Mapping[str, Path], work_dir: Path) -> list[str]:
        """Hand a batch to Slurm, and return the ids of its jobs. Raises BadInput where Slurm refuses it."""
        from submitit import SlurmExecutor as Submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        from bench.execute.jobs.slurm_job import StageJob

        kinds = dict.fromkeys(stage.kind.replace(":", ".") for stage in batch.stages)
        name = (
            f"bench-{batch.stages[0].title.replace(' ', '-')}" if len(batch.stages) == 1 else f"bench-{'-'.join(kinds)}"
        )
        python = shlex.join([sys.executable, *python_options()])
        executor = Submitit(work_dir.absolute() / FILES, max_num_timeout=TIME_OUTS, python=python)
        executor.update_parameters(**self.options.parameters(batch.resources, name, batch.after))
        calls = [
            StageJob(folders[stage.fingerprint].absolute(), batch.resources.processes, batch.resources.nodes)
            for stage in batch.stages
        ]
        try:
            submitted = executor.submit_array(calls)  # a plain job where it is one
        except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError) as error:
            titles = ", ".join(stage.title for stage in batch.stages)
            raise BadInput(f"Slurm did not take {titles} ({_said(str(error))}); correct the options for it.") from error
        return [job.job_id for job in submitted]


def _said(text: str) -> str:
    """What sbatch complained of, on a line."""
    lines = [line.strip().removeprefix("sbatch: ").removeprefix("error: ") for line in text.splitlines()]
    return "; ".join(line.rstrip(".") for line in lines if line)[:300] or "it does not say why"
