"""What Slurm is asked for: the options of `bench run --executor slurm`, checked, and what a stage's job gets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.errors import BadInput

ARRAY_PARALLELISM = 16  # jobs of an array at once, if nothing else is said
WARNING_SECONDS = 180  # before the time limit, when a job is told to stop; of short limits, a quarter
TIME_OUTS = 1000  # after so many a job is not requeued any more

_NAME = re.compile(r"[\w.@+:/&|()*\[\],=-]+", re.ASCII)
_MEMORY = re.compile(r"\d+[KMGT]?", re.ASCII)
_KEY = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
# Options of sbatch that a job has from elsewhere, and where from.
_OURS = {
    "account": "--account",
    "array": "--array-parallelism",
    "chdir": "the folder that bench runs in",
    "constraint": "--constraint",
    "cpus-per-task": "--cpus-per-task",
    "dependency": "the plan",
    "error": "the work folder",
    "gpus-per-node": "--gpus-per-node",
    "job-name": "the plan",
    "kill-on-invalid-dep": "the plan",
    "mem": "--mem",
    "no-requeue": "what a resumed stage needs",
    "nodes": "--nodes",
    "ntasks": "--nodes",
    "ntasks-per-node": "--nodes",
    "open-mode": "the work folder",
    "output": "the work folder",
    "partition": "--partition",
    "qos": "--qos",
    "requeue": "what a resumed stage needs",
    "signal": "--time",
    "test-only": "bench run --dry-run",
    "time": "--time",
    "wrap": "the plan",
}


@dataclass(frozen=True)
class Resources:
    """What the job of a stage gets: nodes, and the GPUs and processes of each. Equal ones may share an array."""

    nodes: int
    gpus: int  # of a node; 0: none is asked for
    processes: int  # of a node


@dataclass(frozen=True)
class SlurmOptions:
    """What all jobs are asked for with. Raises BadInput, one sentence, for a value that Slurm would not take."""

    time: str = ""  # the limit of a job: minutes, MM:SS, HH:MM:SS or D-HH[:MM[:SS]]
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    mem: str | None = None  # of a node: 64G
    nodes: int = 1  # of a stage that several processes can share
    gpus_per_node: int | None = None  # None: none is asked for, and each stage is one process
    cpus_per_task: int | None = None
    array_parallelism: int = ARRAY_PARALLELISM
    extra: Mapping[str, str] = field(default_factory=dict)  # other options of sbatch; "" of one without a value

    def __post_init__(self) -> None:
        for name in ("partition", "account", "qos", "constraint"):
            value = getattr(self, name)
            if value is not None and (not _NAME.fullmatch(value) or value.startswith("-")):
                raise BadInput(f"--{name} {value!r} is no name that Slurm knows; correct it.")
        if self.mem is not None and not _MEMORY.fullmatch(self.mem):
            raise BadInput(f"--mem {self.mem!r} is no amount of memory; write --mem 64G (K, M, G or T; of each node).")
        for name in ("nodes", "gpus_per_node", "cpus_per_task", "array_parallelism"):
            value = getattr(self, name)
            if value is not None and value < (0 if name == "gpus_per_node" else 1):
                raise BadInput(f"--{name.replace('_', '-')} {value} is too few; give 1 or more.")
        for key, value in self.extra.items():
            if not _KEY.fullmatch(key) or not value.isprintable():
                raise BadInput(f"--slurm-extra {key}={value} is no option of sbatch; write KEY=VALUE, or KEY alone.")
            if key in _OURS:
                raise BadInput(f"--slurm-extra {key} cannot be set, since it comes from {_OURS[key]}; leave it out.")

    @property
    def minutes(self) -> int:
        """The time limit in whole minutes, rounded up. Raises BadInput where there is none, or it is no time."""
        return minutes_of(self.time)

    @property
    def warning_seconds(self) -> int:
        """How long before its time limit a job is told to stop; Slurm may tell it a minute earlier."""
        return min(WARNING_SECONDS, self.minutes * 60 // 4)

    def resources(self, gpus: int, *, several: bool) -> Resources:
        """Return what a stage's job gets.

        Args:
            gpus: that the stage can use where each may have `gpus_per_node`; 0 for one that computes nothing on them.
            several: whether it can be shared by processes at all, and so by nodes.
        """
        asked = min(gpus, self.gpus_per_node or 0)
        return Resources(self.nodes if several and gpus else 1, asked, max(1, asked))

    def parameters(self, resources: Resources, name: str, after: Sequence[str]) -> dict[str, Any]:
        """Return what submitit's Slurm executor is told for a job, or an array of jobs.

        Args:
            resources: of each job.
            name: that squeue shows.
            after: ids of the jobs that must have ended well before.
        """
        more: dict[str, Any] = {
            "requeue": True
        }  # after pre-emption and the loss of a node, whatever the site's default
        if after:
            more |= {"dependency": "afterok:" + ":".join(after), "kill-on-invalid-dep": "yes"}
        if self.mem is not None:
            more["mem"] = self.mem
        more |= {key: value or True for key, value in self.extra.items()}
        asked = {
            "job_name": name,
            "time": self.minutes,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "nodes": resources.nodes,
            "ntasks_per_node": 1,
            "gpus_per_node": resources.gpus or None,
            "cpus_per_task": self.cpus_per_task,
            # Since Slurm 22.05 a step does not have them from its job, and may be bound to one core.
            "srun_args": [f"--cpus-per-task={self.cpus_per_task}"] if self.cpus_per_task else None,
            "signal_delay_s": self.warning_seconds,
            "array_parallelism": self.array_parallelism,
            "stderr_to_stdout": True,
            "additional_parameters": more,
        }
        return {key: value for key, value in asked.items() if value is not None}

    def words(self, resources: Resources) -> list[str]:
        """Return the options of sbatch that decide whether a site takes such a job, for a trial."""
        asked = {
            "time": self.minutes,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "nodes": resources.nodes,
            "ntasks-per-node": 1,
            "gpus-per-node": resources.gpus or None,
            "cpus-per-task": self.cpus_per_task,
            "mem": self.mem,
        }
        words = [f"--{key}={value}" for key, value in asked.items() if value is not None]
        return words + [f"--{key}={value}" if value else f"--{key}" for key, value in self.extra.items()]


def minutes_of(text: str) -> int:
    """Return a time limit as Slurm writes it in minutes, rounded up. Raises BadInput."""
    if not text:
        raise BadInput(
            "--executor slurm needs --time, the limit of each job: minutes, or D-HH:MM:SS; a stage that takes longer "
            "is requeued and goes on."
        )
    days, dash, rest = text.rpartition("-")
    parts = rest.split(":")
    known = all(re.fullmatch(r"[0-9]{1,9}", part) for part in parts) and (not dash or re.fullmatch(r"[0-9]{1,6}", days))
    if not known or len(parts) > 3:
        raise BadInput(f"--time {text!r} is no time limit; give minutes, or D-HH:MM:SS.")
    numbers = [int(part) for part in parts]
    # Slurm reads from the left after days, and from minutes without them: 30, 30:00, 0:30:00; 1-12, 1-12:30.
    if dash:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    total = (int(days or 0) * 24 + hours) * 3600 + minutes * 60 + seconds
    if total == 0:
        raise BadInput(
            f"--time {text} leaves a job no time, which Slurm takes for no limit; give minutes, or D-HH:MM:SS."
        )
    return -(-total // 60)


def extra_of(words: Sequence[str]) -> dict[str, str]:
    """Return {key: value} of words `key=value`, or `key` alone, as --slurm-extra takes them."""
    return {key.removeprefix("--"): value for key, _, value in (word.partition("=") for word in words)}
