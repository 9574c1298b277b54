"""How long the stages of a plan will take, how much memory and disk: from records of this machine, or timed parts.

Records of the same work on a machine like this one come first: they are of whole runs. What they do not know is timed
(`probe`). Whatever is known from neither is said to be not known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from bench.config.kinds import StageKind
from bench.config.tasks import stage_kind
from bench.execute.estimated import GridEstimate, StageEstimate
from bench.execute.grid import Grid, plan_grid
from bench.execute.likeness import UPSTREAM, key_of, keys_of, loose_key
from bench.execute.machine import Machine, this_machine
from bench.execute.probe import kept, probe
from bench.execute.request import Request
from bench.execute.stage_server import can_fork
from bench.plan import Stage
from bench.record import Record, read_all
from bench.stages.costs import Amount, Costs

MISSING = "not known: data missing"
ALIKE = 0.3  # the interval of a pretraining for which another objective was timed, to either side
Probe = Callable[[Mapping[str, Stage]], Mapping[str, Costs | str]]


def estimate_grid(request: Request, gpus: int) -> tuple[Grid, GridEstimate]:
    """Plan a request and estimate it on this machine; scenes of a smoke run are rendered for that.

    Raises BadInput for whatever is wrong with the request, and for a damaged record.
    """
    if request.smoke and not request.data_root:
        from bench.synthetic.render import render

        render(request.work_dir / "rendered")
    grid = plan_grid(request, act=False, gpus=gpus)
    return grid, estimate_here(grid, gpus)


def estimate_here(grid: Grid, gpus: int) -> GridEstimate:
    """Return what the stages of a grid will take on this machine."""
    from bench.stages.feature_cache import limit

    machine = this_machine()
    timing = partial(probe, roots=grid.roots, machine=machine, work_dir=grid.work_dir)
    records = read_all(grid.results_dir / "records")
    return estimate(grid, gpus, machine, records, kept(grid.work_dir, machine), timing, limit())


class Recorded:
    """The time and memory of stages by their keys, in the records that were made on a machine like this one."""

    def __init__(self, records: Iterable[Record], machine: Machine) -> None:
        self._rows: dict[str, list[tuple[float, Mapping[str, float]]]] = defaultdict(list)
        for record in records:
            if not machine.made(record):
                continue
            keys = keys_of(record)
            for kind, key in keys.items():
                memory = record.peak_memory_mib
                # A record knows the machine of its own task alone. Whether what came before had a GPU, memory says.
                if kind in UPSTREAM and memory and (f"{kind} gpu" in memory) != bool(machine.gpus):
                    continue
                if kind in record.wall_seconds and kind not in record.untimed:  # else it took longer than that
                    held = {"process": memory.get(kind), "gpu": memory.get(f"{kind} gpu")}
                    known = {name: value for name, value in held.items() if value is not None}
                    self._rows[key].append((record.wall_seconds[kind], known))

    def of(self, key: str) -> tuple[Amount, dict[str, float], int] | None:
        """Return the seconds, the most memory in MiB, and how many records say so; None without one."""
        rows = self._rows.get(key)
        if not rows:
            return None
        # Tasks of one pretraining repeat its time.
        seconds = sorted({taken for taken, _ in rows})
        memory = {name: max(row.get(name, 0.0) for _, row in rows) for name in {n for _, row in rows for n in row}}
        return Amount.of(seconds).widened(), memory, len(rows)


def estimate(
    grid: Grid,
    gpus: int,
    machine: Machine,
    records: Iterable[Record],
    known: Mapping[str, Costs],
    timing: Probe,
    features_most: int | None = None,
) -> GridEstimate:
    """Return what the stages of a grid will take.

    Args:
        grid: planned.
        gpus: processes of a stage that can have several.
        machine: that it will run on.
        records: of any machine; those of this one are used.
        known: what was timed on this machine before, by key.
        timing: times stages, by key, and returns what each costs or why that is not known.
        features_most: bytes that features of frozen trunks may take.
    """
    recorded = Recorded(records, machine)
    to_do = grid.to_do()
    keys = {stage.fingerprint: key_of(stage, machine) for stage in to_do}
    readable = [
        stage for stage in to_do if all(name in grid.roots and name not in grid.problems for name in stage.data)
    ]
    costs: dict[str, Costs | str] = dict(known)
    costs |= timing({key: stage for stage in readable if (key := keys[stage.fingerprint]) not in known})
    alike: dict[str, tuple[str, Costs]] = {}
    for stage in readable:
        if isinstance(found := costs.get(keys[stage.fingerprint]), Costs):
            alike.setdefault(loose_key(stage, machine), (stage.recipe.name, found))
    there: set[str] = set()
    forked = len(to_do) > 1 and can_fork()  # as bench run starts them
    stages = []
    for stage in grid.stages:
        state = grid.states[stage.fingerprint]
        if state != "to do":
            stages.append(StageEstimate(stage, state, state))
        elif stage not in readable:
            stages.append(StageEstimate(stage, state, MISSING))
        else:
            key, processes = keys[stage.fingerprint], _processes(stage, gpus)
            one = _of_costs(stage, costs.get(key, "not known"), machine, processes, there, forked=forked)
            if one.seconds is None and stage.kind == "pretrain" and (near := alike.get(loose_key(stage, machine))):
                one = _like(stage, near, machine, processes, forked)
            # A record does not say how many processes a stage had.
            if processes == 1 and len(machine.gpus) < 2 and (row := recorded.of(key)) is not None:
                one = _of_record(one, *row)
            there |= set(one.features)
            stages.append(one)
    packs = {use.folder for stage in to_do for use in stage.packs}
    return GridEstimate(machine, stages, sum(map(_bytes, packs)), features_most)


def _processes(stage: Stage, gpus: int) -> int:
    kind: type[StageKind] = stage_kind(stage.kind, stage.config)
    return gpus if kind.several_gpus else 1


def _of_costs(
    stage: Stage,
    costs: Costs | str,
    machine: Machine,
    processes: int,
    there: Iterable[str],
    words: str = "timed here",
    *,
    forked: bool,
) -> StageEstimate:
    """The estimate from timed parts. On a CPU several processes share its cores, and are as fast as one."""
    if isinstance(costs, str):
        return StageEstimate(stage, "to do", costs)
    trunk = stage.parents["convert"].fingerprint if "convert" in stage.parents else ""
    named = {f"{trunk} {name}": count for name, count in costs.features.items()}
    have = {name for name in costs.features if f"{trunk} {name}" in there}
    words = "; ".join([words, *(["features are there from another stage"] if have else []), *costs.notes])
    seconds = costs.seconds(machine.cores, have, processes if machine.gpus else 1, forked=forked)
    return StageEstimate(stage, "to do", words, seconds, costs.memory_mib, costs.disk_bytes, named)


def _like(stage: Stage, near: tuple[str, Costs], machine: Machine, processes: int, forked: bool) -> StageEstimate:
    """The estimate of a pretraining from another one that has another objective, or another length."""
    name, costs = near
    words = f"as timed for {name}, whose objective differs"
    one = _of_costs(stage, costs, machine, processes, (), words, forked=forked)
    assert one.seconds is not None
    return StageEstimate(stage, "to do", one.source, one.seconds.widened(ALIKE), one.memory_mib, one.disk_bytes)


def _of_record(one: StageEstimate, seconds: Amount, memory: Mapping[str, float], count: int) -> StageEstimate:
    """The estimate with the time and memory that records have; the disk, which they do not have, stays."""
    words = f"from {count} record{'s' if count > 1 else ''} of this machine"
    held = memory or one.memory_mib
    return StageEstimate(one.stage, "to do", words, seconds, held, one.disk_bytes, one.features)


def _bytes(folder: str) -> int:
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
