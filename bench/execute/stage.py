"""Run one stage in this process: lock, run, mark as done, write the record.

With several processes, this process holds the lock and starts them (`launch.py`); these ranks come here again.
"""

from __future__ import annotations

import datetime
import importlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench import allocator
from bench.code.used import Current
from bench.config.kinds import StageKind
from bench.config.processes import check_shares
from bench.config.recipe import Recipe
from bench.config.tasks import Task
from bench.errors import BadInput, Interrupted, PeerLost, StageFailed
from bench.execute.chain import begin, chain_before, ended, joined, part_of
from bench.execute.code_file import UNKNOWN, check_begun, check_planned, current_of
from bench.execute.code_file import begin as begin_code
from bench.execute.data_check import check_data
from bench.execute.jobs.failure import noting_failure
from bench.execute.launch import Layout, chosen_restarts, launch
from bench.execute.parent import end_if_told, end_with_parent
from bench.execute.rank_endings import STARTED_BY, said_to_launcher
from bench.execute.recording import earlier_of, history_of, record_of
from bench.execute.sources import check_definition, check_unchanged
from bench.execute.stage_ending import kept_traceback, what_broke
from bench.execute.stage_file import Done, StageFile, held, make_folder, read_done, read_stage, write_done
from bench.execute.stage_log import LOG, logged
from bench.execute.stage_outputs import (
    check_parent,
    check_results,
    forget_before,
    has_outcomes,
    outcomes_file,
    sums_of,
)
from bench.execute.stale import StaleChoice, started_anew
from bench.execute.stopping import stoppable
from bench.execute.tracking import with_trackers
from bench.files import write_text
from bench.load_proofs import forget_load_proof, noted_load_proof
from bench.outcomes import OUTCOMES
from bench.peak_memory import peak_memory_mib
from bench.progress import PROGRESS, noted_in
from bench.record import read_file as read_record
from bench.record import write as write_record
from bench.stages.curve import points_of
from bench.stages.job import Job
from bench.timing_gaps import forget_gaps, noted_gaps
from bench.trackers import track_results
from bench.waiting import total_share

LOAD_PROOF = "load_proof.json"  # in a stage's folder: what the network that it used was seen to compute
RECORD = "record.json"  # in a stage's folder: a copy of what went to the results


def under_torchrun() -> bool:
    """Whether this process is one rank of a torchrun."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def run_stage(
    folder: Path,
    gpus: int = 1,
    wait: bool = True,
    stale: StaleChoice = "refuse",
    layout: Layout | None = None,
) -> None:
    """Run the stage in `folder` unless it is done.

    Two processes on one stage: the second waits for the first (or, without `wait`, leaves with BadInput). `stale` says
    what to do where it was begun or made by other code than that of now. `layout` says more of its processes than that
    there are `gpus` of them here.
    Raises BadInput, StageFailed or Interrupted.
    """
    folder = folder.absolute()
    stage, keep = read_stage(folder), stale == "keep"
    if under_torchrun():
        # Ranks have sessions of their own: what kills the launcher, which holds the lock, misses them.
        launcher = os.environ.get(STARTED_BY, "")
        end_with_parent(signal.SIGKILL, int(launcher) if launcher.isdecimal() else None)
        first = os.environ.get("RANK", "0") == "0"
        with said_to_launcher(folder), FileLock(folder / "ranks.lock") if first else nullcontext():
            _run(folder, stage, keep)
        return
    end_if_told()
    layout = layout or Layout(gpus, restarts=chosen_restarts())
    layout.check()
    several = layout.world > 1 and stage.stage_kind.several_gpus
    if stale == "redo":
        stage = started_anew(folder, stage)
    with (
        stoppable(),
        held(folder, stage, wait, layout.rendezvous if several else None) as holds,
        noting_failure(folder, LOG) if holds else nullcontext(),
    ):
        if read_done(folder, stage.fingerprint, stage.stage_kind.outputs) is not None:
            check_begun(folder, stage, current_of(stage), keep)
            if _recorded(folder, stage):
                print(f"{stage.title}: done already", flush=True)
                return
        with logged(folder, stage.title) if holds else nullcontext():
            check_data(stage.data, stage.data_roots, folder.parent.parent)
            if several:
                _check_ranks(stage, layout)
                _check_code(stage, folder, keep)
                if holds:
                    settled(stage, folder)
                launch(folder, stage, layout, ["--stale", "keep"] if keep else [], holder=holds)
            else:
                _run(folder, stage, keep)


def _check_ranks(stage: StageFile, layout: Layout) -> None:
    """Raise BadInput here for what would end each of several processes, of which a launcher says only that they failed.

    Those are GPUs that torch was not built for, and a pretraining that they cannot share, or not compile.
    """
    from bench.train.gpus import check_built_for_gpus
    from bench.train.precision import this_device

    check_built_for_gpus(layout.gpus)
    if stage.kind != "pretrain" or stage.recipe.epochs == 0:
        return
    check_shares(stage.recipe, layout.world)
    if stage.recipe.compile:
        from bench.train.step import check_compiling

        check_compiling(stage.recipe, layout.world, this_device())


def _check_code(stage: StageFile, folder: Path, keep: bool) -> Current:
    """Return the code of now. Raises BadInput where it is another than the stage was planned or begun with."""
    check_unchanged(stage.sources, stage.recipe, stage.task)
    if stage.kind == "pretrain":  # what comes after it only reads its weights
        check_definition(stage.definitions, stage.recipe)
    current = current_of(stage)
    check_planned(stage, current, folder.parent.parent, keep)
    check_begun(folder, stage, current, keep)
    return current


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
        return any((Path(stage.results_dir) / "records").glob(stage.record_pattern))
    if record.fingerprints.stage != stage.fingerprint:
        return False
    records = Path(stage.results_dir) / "records"
    if has_outcomes(record, folder / OUTCOMES):
        write_record(record, records, folder / OUTCOMES)
    elif not (records / record.file_name).is_file():  # a record without them would say less than it claims
        return False
    return True


@with_trackers
def _run(folder: Path, stage: StageFile, keep: bool = False) -> None:
    """Run the stage's code; rank 0 marks it as done and writes the record."""
    allocator.check()
    current = _check_code(stage, folder, keep)
    work_dir = folder.parent.parent
    inputs = {role: work_dir / name for role, name in stage.inputs.items()}
    for role, place in inputs.items():
        check_parent(stage, role, place)
    if stage.task is not None:
        from bench.convert.proof import check_twin

        check_twin(inputs["convert"], stage.recipe.export)
        make_folder(Path(stage.results_dir) / "records", "--results-dir")
    from bench.train.gpus import check_built_for_gpus  # torch takes a second: not before what is quick to refuse
    from bench.train.precision import begun

    check_built_for_gpus()
    first, resumed = int(os.environ.get("RANK", "0")) == 0, begun(folder)
    config = settled(stage, folder)
    precision = computed_in(stage.stage_kind, config)
    if first:
        made = begin(folder, stage, part_of(stage, precision), resumed=resumed)
        (folder / OUTCOMES).unlink(missing_ok=True)  # of an earlier sitting
    job = job_of(stage, config, folder, inputs)
    sittings = begin_code(folder, stage, current, inputs).sittings if first else ()
    forget_gaps()
    forget_load_proof()
    started = time.monotonic()
    record = None
    with _reported(folder, stage), noted_in(folder / PROGRESS if first else None):
        metrics = function_of(stage.stage_kind)(job)
        if not first:
            return
        check_results(folder, stage, metrics)
        track_results(metrics)
        if proof := noted_load_proof():
            write_text(folder / LOAD_PROOF, json.dumps(proof, indent=1, ensure_ascii=False) + "\n")
        elif stage.task is not None:
            print(
                f"{stage.title}: its network was not proven (bench.stages.load_proof.prove_network does that)",
                flush=True,
            )
        done = Done(
            fingerprint=stage.fingerprint,
            metrics=json.loads(json.dumps(metrics)),  # as the file will give them back: tuples are lists
            precision=precision,
            wall_seconds=round(time.monotonic() - started, 3),
            peak_memory_mib=peak_memory_mib(),
            data_wait_share=total_share(),
            untimed=noted_gaps(),
            code=tuple(each for each in sittings if each != UNKNOWN),
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            files=sums_of(folder, stage.stage_kind.outputs),
            load_proof=proof.get("differences", {}),
            curve=points_of(folder),
        )
        done.chain = joined(chain_before(stage, work_dir), {stage.title: ended(made, done)})
        if stage.task is not None:
            told = outcomes_file(folder, metrics)
            record = record_of(stage, done, history_of(stage, work_dir), earlier_of(stage, work_dir), told)
    if record is not None:
        write_record(record, Path(stage.results_dir) / "records", folder / OUTCOMES)
        write_text(folder / RECORD, record.as_text())
    write_done(folder, done)
    if stage.task is not None:  # a pretraining's goes on to serve where its last checkpoint is damaged later
        forget_before(folder)


def job_of(stage: StageFile, config: Recipe | Task, folder: Path, inputs: Mapping[str, Path]) -> Job:
    """Return what a stage in `folder` is given, with its config as settled here and its parents' folders."""
    return Job(
        config=config,
        seed=stage.seed,
        trunk_seed=stage.trunk_seed,
        folder=folder,
        inputs=inputs,
        data_roots={name: Path(root) for name, root in stage.data_roots.items()},
        unreadable=stage.unreadable,
        packs=stage.packs,
        data=stage.data,
        features=folder.parent.parent / "features",
        recipe=stage.recipe,
    )


@contextmanager
def _reported(folder: Path, stage: StageFile) -> Iterator[None]:
    """Turn an exception into StageFailed, with the traceback in a file; those with words for people pass."""
    try:
        yield
    except (BadInput, StageFailed, Interrupted, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:  # a stage ends by returning
        from bench.train.lost_processes import in_words

        lost = in_words(error, stage.title)
        if lost is not None and (under_torchrun() or not isinstance(lost, PeerLost)):  # a process alone loses no other
            raise lost from error
        words = f"{stage.title}: {what_broke(error, stage.task or stage.recipe)} ({kept_traceback(folder)})"
        raise StageFailed(words) from error


def function_of(kind: type[StageKind]) -> Callable[[Job], dict[str, Any]]:
    """What runs stages of a kind."""
    module, colon, name = kind.run.partition(":")
    return getattr(importlib.import_module(module if colon else kind.__module__), name if colon else kind.run)


def settled(stage: StageFile, folder: Path) -> Recipe | Task:
    """Return a stage's config with what `auto` means on this machine; ranks take what their launcher settled."""
    config = stage.task or stage.recipe
    if not stage.stage_kind.auto_precision:
        return config
    from bench.train.precision import resolve

    return resolve(config, folder, starting=not under_torchrun())


def computed_in(kind: type[StageKind], config: Recipe | Task) -> str | None:
    """The precision for the record; None where nothing was computed in one that could have been another."""
    untrained = isinstance(config, Recipe) and config.epochs == 0
    return None if untrained or not kind.auto_precision else getattr(config, "precision", None)
