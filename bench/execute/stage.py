"""Run one stage in this process: lock, run, mark as done, write the record.

With several processes, this process holds the lock and starts torchrun, whose ranks come here again.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import json
import os
import resource
import shlex
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench import allocator
from bench.config.load import load_recipe, load_task, parse_assignments
from bench.config.recipe import Recipe
from bench.config.tasks import Task
from bench.errors import BadInput, Interrupted, StageFailed
from bench.execute.stage_file import (
    STAGE,
    Done,
    StageFile,
    make_folder,
    plain,
    read_done,
    read_stage,
    write_done,
)
from bench.files import write_text
from bench.plan import settings
from bench.record import Fingerprints, Record, environment
from bench.record import read_file as read_record
from bench.record import write as write_record
from bench.stages.job import Job

EXIT_INTERRUPTED = 130
RUNS = {"segmentation": "bench.stages.segmentation.finetune"}  # where `run` is, unless in the file of the kind's name
RECORD = "record.json"  # in a stage's folder: a copy of what went to the results
NO_LOSS = frozenset({"steps", "epochs", "images_skipped"})  # the numbers of a pretraining that are no term of its loss


def under_torchrun() -> bool:
    """Whether this process is one rank of a torchrun."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def run_stage(folder: Path, gpus: int = 1, wait: bool = True) -> None:
    """Run the stage in `folder` unless it is done.

    Two processes on one stage: the second waits for the first (or, without `wait`, leaves with BadInput).
    Raises BadInput, StageFailed or Interrupted.
    """
    folder = folder.absolute()
    stage = read_stage(folder)
    if under_torchrun():
        _run(folder, stage)
        return
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        holder = _holder(folder)
        if not wait:
            raise BadInput(f"{stage.label} is being run by {holder}; wait for it, or leave out --no-wait.") from None
        print(f"{stage.kind} {stage.label}: waiting for {holder}, which runs it already", flush=True)
        lock.acquire()
    try:
        write_text(folder / "holder", f"process {os.getpid()} on {socket.gethostname()}\n")
        if read_done(folder, stage.fingerprint) is not None and _recorded(folder, stage):
            print(f"{stage.kind} {stage.label}: done already", flush=True)
        elif gpus > 1 and stage.kind in {"pretrain", "segmentation", "knn"}:
            settled(stage, folder)
            _torchrun(folder, stage, gpus)
        else:
            _run(folder, stage)
    finally:
        lock.release()


def _recorded(folder: Path, stage: StageFile) -> bool:
    """Whether the record of a task that is done is where it should be, or could be put there.

    It may be asked for in another results folder, or have been deleted. What was measured then is true still, under the
    code and on the machine of then: the stage's own copy says so, and without it the task runs again.
    """
    if stage.task is None:
        return True
    try:
        record = read_record(folder / RECORD)
    except BadInput:
        # Of a version that kept no copy.
        return any((Path(stage.results_dir) / "records").glob(f"*__s{stage.seed}__{stage.fingerprint[:12]}.json"))
    if record.fingerprints.stage != stage.fingerprint:
        return False
    write_record(record, Path(stage.results_dir) / "records")
    return True


def _run(folder: Path, stage: StageFile) -> None:
    """Run the stage's code; rank 0 marks it as done and writes the record."""
    allocator.check()
    first = int(os.environ.get("RANK", "0")) == 0
    work_dir = folder.parent.parent
    inputs = {role: work_dir / name for role, name in stage.inputs.items()}
    for place in inputs.values():
        _finished(place)
    if stage.task is not None:
        make_folder(Path(stage.results_dir) / "records", "--results-dir")
    config = settled(stage, folder)
    job = Job(
        config=config,
        seed=stage.seed,
        folder=folder,
        inputs=inputs,
        data_roots={name: Path(root) for name, root in stage.data_roots.items()},
        unreadable=stage.unreadable,
        packs=stage.packs,
        data=stage.data,
        features=work_dir / "features",
        recipe=stage.recipe,
    )
    started = time.monotonic()
    try:
        metrics = importlib.import_module(RUNS.get(stage.kind, f"bench.stages.{stage.kind}")).run(job)
    except (BadInput, StageFailed, Interrupted, KeyboardInterrupt):
        raise
    except Exception as error:
        report = folder / "error.log"
        write_text(report, traceback.format_exc() + "\n")
        reason = " ".join(str(error).split())[:300]
        raise StageFailed(
            f"{stage.kind} {stage.label}: {type(error).__name__}: {reason} (traceback: {report})"
        ) from error
    if first:
        done = Done(
            fingerprint=stage.fingerprint,
            metrics=plain(metrics),
            precision=_computed_in(stage.kind, config),
            wall_seconds=round(time.monotonic() - started, 3),
            peak_memory_mib=peak_memory_mib(),
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        if stage.task is not None:
            record = _record(stage, done, work_dir)
            write_record(record, Path(stage.results_dir) / "records")
            write_text(folder / RECORD, record.model_dump_json(indent=1, by_alias=True) + "\n")
        write_done(folder, done)


def settled(stage: StageFile, folder: Path) -> Recipe | Task:
    """Return a stage's config with what `auto` means on this machine; ranks take what their launcher settled.

    Conversion computes in float32, whatever the recipe says.
    """
    config = stage.task or stage.recipe
    if stage.kind == "convert":
        return config
    from bench.train.precision import settle

    return settle(config, folder, starting=not under_torchrun())


def _computed_in(kind: str, config: Recipe | Task) -> str | None:
    """The precision for the record; None where nothing was computed in one that could have been another."""
    untrained = isinstance(config, Recipe) and config.epochs == 0
    return None if kind == "convert" or untrained else config.precision


def _torchrun(folder: Path, stage: StageFile, processes: int) -> None:
    threads = max(1, (os.cpu_count() or 1) // processes)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "bench", "stage", str(folder)]
    environ = allocator.started_with(os.environ) | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    with subprocess.Popen(command, env=environ) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the ranks have heard it too, and write their last checkpoint
            process.wait()
            raise
    if code or read_done(folder, stage.fingerprint) is None:
        raise StageFailed(f"{stage.kind} {stage.label} failed in one of {processes} processes (exit code {code}).")


def _holder(folder: Path) -> str:
    try:
        return (folder / "holder").read_text(encoding="utf-8").strip()
    except OSError:
        return "another process"


def _record(stage: StageFile, done: Done, work_dir: Path) -> Record:
    """The record of a task's result, with all that is needed to believe it."""
    assert stage.task is not None
    assert stage.protocol is not None
    task = stage.task
    metrics = dict(done.metrics)
    trunk = work_dir / stage.inputs["convert"]
    convert = read_stage(trunk)
    pretrain = work_dir / convert.inputs["pretrain"]
    converted = _finished(trunk)
    seconds = {"convert": converted.wall_seconds, task.kind: done.wall_seconds}
    memory = _by_stage("convert", converted) | _by_stage(task.kind, done)
    precision: dict[str, str | None] = {task.kind: done.precision}
    skipped = int(metrics.pop("images_skipped", 0))
    losses: dict[str, float] = {}
    if (pretrain / STAGE).is_file():  # people delete training states once the trunk is there
        trained = _finished(pretrain)
        seconds = {"pretrain": trained.wall_seconds} | seconds
        memory = _by_stage("pretrain", trained) | memory
        precision = {"pretrain": trained.precision} | precision
        skipped += int(trained.metrics.get("images_skipped", 0))
        losses = {
            name: float(value)
            for name, value in trained.metrics.items()
            if isinstance(value, int | float) and name not in NO_LOSS
        }
    upstream, downstream = settings(stage.recipe), settings(task)
    # Paths would be of this machine; the fingerprints know the contents.
    if "config" in downstream:
        downstream["config"] = Path(downstream["config"]).name
    if upstream["init"] is not None and upstream["init"]["checkpoint"] is not None:
        upstream["init"]["checkpoint"] = Path(upstream["init"]["checkpoint"]).name
    return Record(
        pretrain=stage.recipe.name,
        pretrain_set=stage.recipe.dataset,
        arch=stage.recipe.arch,
        task=task.name,
        kind=task.kind,
        dataset=task.dataset,
        profile=task.profile,
        seed=stage.seed,
        metrics=metrics,
        pretrain_metrics=losses,
        fingerprints=Fingerprints(stage=stage.fingerprint, recipe=stage.recipe_fingerprint, protocol=stage.protocol),
        data=stage.lineage_data,
        settings={"pretrain": upstream, "downstream": downstream},
        wall_seconds=seconds,
        peak_memory_mib=memory,
        precision={kind: value for kind, value in precision.items() if value is not None},
        weights=stage.inputs["convert"] + "/trunk.safetensors",
        images_skipped=skipped,
        command=command_of(stage.recipe, task, stage.seed),
        **environment(_gpus()),
    )


def command_of(recipe: Recipe, task: Task, seed: int) -> str:
    """Return the command that gives a result anew: its configs by name, and what was set otherwise than in them."""
    pretrain, downstream = (Path(config.source).stem for config in (recipe, task))
    words = ["bench", "run", "--pretrain", pretrain, "--downstream", downstream, "--seeds", str(seed)]
    words += ["--profile", task.profile]
    changed: list[str] = []
    with contextlib.suppress(BadInput):  # a config that is no longer where it was: the settings are in the record
        changed += _changed("pretrain", settings(recipe), settings(load_recipe(pretrain, recipe.profile)))
        changed += _changed("downstream", settings(task), settings(load_task(downstream, task.profile)))
    return shlex.join([*words, *(["--set", *changed] if changed else [])])


def _changed(key: str, own: Any, base: Any) -> list[str]:
    """Return `key=value` of each value, however deep, that `base` has not or has otherwise."""
    if isinstance(own, dict) and isinstance(base, dict):
        return [word for name, value in own.items() for word in _changed(f"{key}.{name}", value, base.get(name))]
    if json.dumps(own) == json.dumps(base):  # a tuple is a list there
        return []
    plain = f"{key}={own}"  # a word needs no quotes, unless it could be read as something else
    return [plain if parse_assignments([plain])[key] == own else f"{key}={own!r}"]


def _finished(folder: Path) -> Done:
    done = read_done(folder, read_stage(folder).fingerprint)
    if done is None:
        raise BadInput(f"{folder} is not finished; run it first: bench stage {folder}")
    return done


def peak_memory_mib() -> dict[str, float]:
    """Return the most memory, in MiB, that this process has held, and the most that torch had allocated on its GPU.

    Without the loader's workers: a child's ru_maxrss starts from what its parent held when it forked, so that one call
    of git would be taken for a worker of half a gigabyte.
    """
    unit = 2**20 if sys.platform == "darwin" else 2**10  # Linux counts KiB
    found = {"process": _high_water_kib() / 2**10 or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.max_memory_allocated() / 2**20
    return {name: round(value, 1) for name, value in found.items()}


def _high_water_kib() -> int:
    """Linux's own count for this program. ru_maxrss would be that of the process which started it, if that is more."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        return 0


def _by_stage(kind: str, done: Done) -> dict[str, float]:
    return {kind if name == "process" else f"{kind} {name}": value for name, value in done.peak_memory_mib.items()}


def _gpus() -> list[str]:
    """The devices that this process could see, if its stage used torch at all."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
