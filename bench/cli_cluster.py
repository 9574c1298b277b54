"""The options of `bench run` that are for a cluster: what Slurm is asked for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

from bench.errors import BadInput

SLURM = "slurm"
PANEL = "With --executor slurm"


def _option(name: str, help: str, metavar: str) -> Any:
    return typer.Option(name, help=help, metavar=metavar, rich_help_panel=PANEL)


@dataclass(frozen=True)
class Cluster:
    """What a person asked for; None, or nothing, where they did not."""

    time: Annotated[str | None, _option("--time", "Limit of a job: minutes, or D-HH:MM:SS; needed.", "TIME")] = None
    partition: Annotated[str | None, _option("--partition", "Partition of the cluster.", "P")] = None
    account: Annotated[str | None, _option("--account", "Account that is charged.", "A")] = None
    qos: Annotated[str | None, _option("--qos", "Quality of service.", "Q")] = None
    constraint: Annotated[str | None, _option("--constraint", "Features that a node must have.", "C")] = None
    nodes: Annotated[int | None, _option("--nodes", "Nodes of a stage that several processes can share; 1.", "N")] = (
        None
    )
    gpus_per_node: Annotated[
        int | None, _option("--gpus-per-node", "GPUs, and processes, of a stage on each node; none, and one.", "G")
    ] = None
    cpus_per_task: Annotated[int | None, _option("--cpus-per-task", "Cores of a stage on each node.", "C")] = None
    mem: Annotated[str | None, _option("--mem", "Memory of a stage on each node: 64G.", "M")] = None
    array_parallelism: Annotated[
        int | None, _option("--array-parallelism", "Jobs of an array that run at once; 16.", "K")
    ] = None
    slurm_extra: Annotated[
        list[str], _option("--slurm-extra", "Other options of sbatch: exclude=node7 exclusive.", "KEY=VALUE")
    ] = ()  # type: ignore[assignment]

    def told(self, executor: str, gpus: int, per_stage: int | None) -> dict[str, Any]:
        """Return what an executor's class is told, by keywords. Raises BadInput for options that are not for it."""
        given = {
            field.name: value for field in fields(self) if (value := getattr(self, field.name)) not in (None, [], ())
        }
        if executor != SLURM:
            for name in given:
                option = name.replace("_", "-")
                raise BadInput(f"--{option} is an option of --executor slurm; give that, or leave it out.")
            return {}
        if (gpus, per_stage) != (1, None):
            raise BadInput("--gpus and --per-stage divide this machine; give --gpus-per-node for a cluster.")
        from bench.execute.jobs.slurm_options import SlurmOptions, extra_of, minutes_of

        minutes_of(self.time or "")
        given["extra"] = extra_of(given.pop("slurm_extra", ()))
        return {"options": SlurmOptions(**given)}


def takes_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options in the place of its parameter `cluster`, which is then the `Cluster`."""
    parameters = [
        each for each in inspect.signature(command, eval_str=True).parameters.values() if each.name != "cluster"
    ]
    options = []
    annotations = inspect.get_annotations(Cluster, eval_str=True)
    for field in fields(Cluster):
        default = [] if isinstance(field.default, tuple) else field.default
        options.append(
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotations[field.name]
            )
        )

    @functools.wraps(command)
    def with_options(*words: Any, **values: Any) -> None:
        cluster = Cluster(**{option.name: values.pop(option.name) for option in options})
        command(*words, cluster=cluster, **values)

    with_options.__signature__ = inspect.Signature([*parameters, *options])  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in [*parameters, *options]}
    return with_options
