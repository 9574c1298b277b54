"""What many processes left in a folder that they shared: stages done once, records whole, no half files, free locks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contender import notes_of
from filelock import FileLock, Timeout

from bench.errors import BadInput
from bench.execute.stage_file import DONE, STAGE, Done, finished, read_done, read_stage
from bench.files import sha256_of
from bench.plan import Stage
from bench.record import beside, read_all, read_file

# What must be none: the campaign fails where one of these counts anything.
NONE_OF = ("lost", "double", "overlapping", "again after the end", "half files", "stale locks", "different")


def results_of(shared: Path, stages: Sequence[Stage]) -> dict[str, Any]:
    """Return {stage's folder: metrics} of the stages that are done: of tasks as recorded, of others as they left it.

    A task that was killed between its record and its `done.json` is done: nothing runs it again.
    """
    found = {}
    for stage in stages:
        record = shared / "results" / "records" / stage.record_name if stage.is_task else None
        if record is not None and record.is_file():
            found[stage.folder] = read_file(record).metrics
        elif record is None and (done := _done(shared, stage)) is not None:
            found[stage.folder] = done.metrics
    return found


def _done(shared: Path, stage: Stage) -> Done | None:
    return read_done(shared / "runs" / stage.folder, stage.known_as, stage.outputs)


def counted(shared: Path, stages: Sequence[Stage], undisturbed: Mapping[str, Any]) -> dict[str, int]:
    """Count what must not be, and what was there besides.

    Args:
        shared: holds the work folder, the results and the notes of the processes.
        stages: that all of them together wanted.
        undisturbed: {stage's folder: metrics} of one process that nothing happened to.
    """
    work_dir, results_dir = shared / "runs", shared / "results"
    notes, found = notes_of(shared), results_of(shared, stages)
    did = Counter(note["what"] for note in notes)
    wanted = {stage.record_name for stage in stages if stage.is_task}
    records = {file.name for file in (results_dir / "records").glob("*.json")}
    ends = Counter(note["stage"] for note in notes if note["what"] == "done")
    half = [*_half_files(work_dir), *_half_records(results_dir)]
    return {
        "stages": len(stages),
        "records": len(wanted),
        "lost": len(stages) - len(found),
        "double": sum(count - 1 for count in ends.values()) + len(records - wanted),
        "overlapping": did["overlapping"],
        "again after the end": did["again"],
        "half files": len(half),
        "stale locks": sum(_is_held(lock) for lock in work_dir.glob("*/*/lock")),
        "different": sum(metrics != undisturbed.get(folder) for folder, metrics in found.items()),
        "begun": did["begun"],
        "recorded without done.json": sum(stage.is_task and _done(shared, stage) is None for stage in stages),
        "temporary files left": len([*work_dir.rglob(".*"), *results_dir.rglob(".*")]),
    }


def _half_files(work_dir: Path) -> list[Path]:
    """Files of stages under their final names that are not what was written."""
    half = []
    for file in work_dir.glob(f"*/*/{STAGE}"):
        try:
            read_stage(file)
        except BadInput:
            half.append(file)
            continue
        if not (file.parent / DONE).is_file():
            continue
        try:
            sums = finished(file.parent).files
        except BadInput:
            half.append(file.with_name(DONE))
            continue
        half += [file.with_name(name) for name, known in sums.items() if sha256_of(file.with_name(name)) != known]
    for file in work_dir.rglob("[!.]*.json"):
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            half.append(file)
    return half


def _half_records(results_dir: Path) -> list[Path]:
    """Records that cannot be read, that have another name, or whose outcomes are not those that they name."""
    records = results_dir / "records"
    try:
        read_all(records)
    except BadInput:
        return [file for file in records.glob("*.json") if _is_broken(file)] or [records]
    outcomes = [(read_file(file).outcomes, beside(file)) for file in records.glob("*.json")]
    return [file for said, file in outcomes if said is not None and sha256_of(file) != said.sha256]


def _is_broken(file: Path) -> bool:
    try:
        read_file(file)
    except BadInput:
        return True
    return False


def _is_held(lock: Path) -> bool:
    """Whether a lock is held, though nobody runs any more."""
    mine = FileLock(lock)
    try:
        mine.acquire(blocking=False)
    except Timeout:
        return True
    mine.release()
    return False
