"""Timing the stages of a plan on this machine for a minute at most, and keeping what was timed.

Each kind of work is timed once, by `bench.stages.timing` in a process of its own. What was found lies in
`estimates.json` of the work folder, by machine, so that a second call times what the first had no time for.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.allocator import started_with
from bench.execute.likeness import loose_key
from bench.execute.machine import Machine
from bench.execute.probing import COSTS, ENDING, PROBLEM
from bench.execute.stage_file import write_stage
from bench.files import write_text
from bench.import_path import command
from bench.plan import Stage, digest
from bench.stages.costs import Costs

FILE = "estimates.json"  # {machine: {key: Costs}}
VERSION = 2  # raised when timing finds other numbers: what was kept before is then forgotten
SECONDS = 60.0  # for all stages together
STALE_SECONDS = 3600.0  # old enough to be certain that nothing is timed in a folder any more
NO_TIME = f"not timed: the {SECONDS:.0f} s were used up; the next call goes on from here"
FIRST = ("convert", "knn", "linear", "diagnostics", "pretrain", "segmentation")  # the order; segmentation takes longest


def probe(
    stages: Mapping[str, Stage], roots: Mapping[str, str], machine: Machine, work_dir: Path, seconds: float = SECONDS
) -> dict[str, Costs | str]:
    """Time stages and return {key: what it costs, or why that is not known}; `seconds` is for all of them together.

    Args:
        stages: by keys that equal work shares (`likeness.key_of`).
        roots: data set -> folder. All that the stages read must be there.
        machine: this one.
        work_dir: what was timed is kept there; so are, for that time, the files that the timing writes.
    """
    if not stages:
        return {}
    order = _order(stages, machine)
    until = time.monotonic() + seconds
    _remove_left(work_dir)
    beside = work_dir if work_dir.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="timing-", dir=beside) as place:
        folders = _folders([stages[key] for key in order], roots, Path(place))
        ending = _start([str(folder) for folder in folders.values()], until, Path(place) / "log")
        found: dict[str, Costs | str] = {key: _found(Path(place) / _alone(stages[key]).folder, ending) for key in order}
    timed = {key: costs for key, costs in found.items() if isinstance(costs, Costs)}
    keep(work_dir, machine, timed)
    return found


def _remove_left(work_dir: Path) -> None:
    """Remove what timing left that was killed."""
    for folder in work_dir.glob("timing-*"):
        with contextlib.suppress(OSError):  # it has just gone
            if time.time() - folder.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def kept(work_dir: Path, machine: Machine) -> dict[str, Costs]:
    """Return what was timed on this machine before, by key."""
    costs: dict[str, Costs] = {}
    for key, value in _stored(work_dir).get(machine.words, {}).items():
        with contextlib.suppress(ValidationError):
            costs[key] = Costs.model_validate(value)
    return costs


def keep(work_dir: Path, machine: Machine, timed: Mapping[str, Costs]) -> None:
    """Add to what was timed on this machine."""
    if not timed:
        return
    stored = _stored(work_dir)
    stored.setdefault(machine.words, {}).update({key: costs.model_dump() for key, costs in timed.items()})
    work_dir.mkdir(parents=True, exist_ok=True)
    write_text(work_dir / FILE, json.dumps({"version": VERSION, "machines": stored}, indent=1) + "\n")


def _stored(work_dir: Path) -> dict[str, Any]:
    try:
        content = json.loads((work_dir / FILE).read_text(encoding="utf-8"))
        return dict(content["machines"]) if content["version"] == VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _order(stages: Mapping[str, Stage], machine: Machine) -> list[str]:
    """The keys in the order that they are timed in: of pretrainings that are much alike one first."""
    seen: set[str] = set()
    ranks: dict[str, tuple[bool, int]] = {}
    for key, stage in stages.items():
        alike = loose_key(stage, machine) or key
        ranks[key] = alike in seen, FIRST.index(stage.kind) if stage.kind in FIRST else len(FIRST)
        seen.add(alike)
    return sorted(stages, key=ranks.__getitem__)


def _alone(stage: Stage) -> Stage:
    """The stage without its history: it is timed with weights from the seed, and its trunk depends on nothing else."""
    if stage.kind == "pretrain":
        return replace(stage, parents={}, kept_as=None)
    parents: dict[str, Stage] = {}
    if stage.kind == "convert":
        network = f"{stage.recipe.arch} {stage.recipe.stem}"
        pretrain = replace(
            stage.parents["pretrain"], label="timing", fingerprint=digest(network), parents={}, kept_as=None
        )
        parents["pretrain"] = pretrain
        alone = replace(stage, label="timing", seed=0, fingerprint=digest(["convert", network]), parents=parents)
        return replace(alone, kept_as=None)
    return replace(stage, kept_as=None, parents={"convert": _alone(stage.parents["convert"])})


def _folders(stages: Sequence[Stage], roots: Mapping[str, str], place: Path) -> dict[str, Path]:
    """Write the folders of stages, and return them by fingerprint."""
    folders: dict[str, Path] = {}
    for stage in map(_alone, stages):
        folders[stage.fingerprint] = write_stage(stage, place, dict(roots), place, "skip")
    return folders


def _start(folders: Sequence[str], until: float, log: Path) -> float:
    """Run the process that times, and return how long it took to end, in seconds; 0 where it was ended.

    It and what it started end with this one.
    """
    started = time.monotonic()
    words = command(f"{started:.3f}", f"{until:.3f}", *folders, module="bench.execute.probing")
    environ = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # as the command line sets it for stages
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            words, stdout=stream, stderr=stream, env=started_with(environ), start_new_session=True
        )
        try:
            process.wait(max(1.0, until - started + 5))
            ended = time.monotonic()
        except BaseException as error:  # its children are of its process group
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return 0.0
    _, said, when = log.read_text(encoding="utf-8", errors="replace").rpartition(ENDING)
    return max(0.0, ended - float(when)) if said else 0.0


def _found(folder: Path, ending: float) -> Costs | str:
    """What the timing of a stage left; `ending` is how long a process takes to end, in seconds."""
    with contextlib.suppress(OSError, ValidationError):
        costs = Costs.model_validate_json((folder / COSTS).read_text(encoding="utf-8"))
        return costs.model_copy(update={"process": costs.process + ending})
    with contextlib.suppress(OSError):
        return f"not timed: {(folder / PROBLEM).read_text(encoding='utf-8').strip()}"
    return NO_TIME
