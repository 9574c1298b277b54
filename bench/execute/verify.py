"""Evaluate the stored weights of a record again, and say whether its number stands: `bench verify`.

The stage runs once more in a scratch folder, on the weights that it left there at its end, so that it trains nothing;
neither its folder nor the record is written to, and features that stages share are not read.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import outcomes
from bench.execute.agreement import Verdict, judged
from bench.execute.stage import RECORD, computed_in, function_of
from bench.execute.stage_file import DONE, Done, finished
from bench.execute.stage_outputs import has_outcomes
from bench.execute.stored_weights import Stored, kept_part, stored
from bench.execute.words import duration
from bench.made import Part, part
from bench.outcomes import OUTCOMES
from bench.record import Record, read_file
from bench.results.mixtures import Stages, known_stages


def verify(record: Record, work_dir: Path, data_root: Sequence[str] = ()) -> Verdict:
    """Evaluate the weights that a record's stage left below `work_dir`.

    Raises BadInput for what is not there any more, and for a kind of task that cannot be evaluated without training;
    StageFailed for weights that are not those of the record.
    """
    found = stored(record, work_dir)
    names = found.weights()
    found.check_code()
    found.check_weights(names)
    found.check_trunk()
    for place in found.inputs.values():
        finished(place)
    roots = found.roots(data_root)
    stage, done, folder = found.stage, found.done, found.folder
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as scratch:
        place = Path(scratch) / folder.name
        place.mkdir()
        now, here = _evaluated(found, place, names, roots)
        apart = _apart(record, folder / OUTCOMES, place / OUTCOMES)
    edited = list(_edits(record, done, folder / RECORD))
    differences = _differences(record, here)
    verdict = judged(record.metrics, now, differences)
    # On a machine that gives the number to the digit, each image must come out as then.
    lost = (
        [f"The number does not stand image by image: {apart}."] if apart and verdict.exact and not differences else []
    )
    edited += lost
    head = f"{stage.title}: evaluated again in {duration(time.monotonic() - started)}"
    code = f"  code of then: {record.git.words}; of now: {here.git.words}"
    images = [f"  {'images':<24} {apart or 'as recorded, each'}"] if apart is not None else []
    lines = (head, *([code] if record.git != here.git else []), *images, *verdict.lines, *edited)
    return Verdict(verdict.stands and not edited, verdict.exact, lines)


def _evaluated(found: Stored, place: Path, names: Sequence[str], roots: dict[str, str]) -> tuple[dict[str, Any], Part]:
    """The metrics of the stage's code on what lies in the scratch folder, and what this process ran with."""
    stage = found.stage
    job = found.job(place, names, roots)
    here = part(precision=computed_in(stage.stage_kind, job.config), unreadable=stage.unreadable)
    with stage.in_its_mode():
        metrics = function_of(stage.stage_kind)(job)
    metrics = json.loads(json.dumps(metrics))  # as a record has them
    metrics.pop("images_skipped", None)  # of which training has its part
    return metrics, here


def _differences(record: Record, here: Part) -> list[str]:
    """What here may move the last digits, in words."""
    kept = kept_part(record)
    if kept is not None:
        return kept.differences(here)
    stages: Stages = known_stages(record)
    ((older,),) = stages.values()
    unknown = ("machine", "kernels", "threads", "processes", "precision", "tf32")
    known = older.model_copy(
        update={name: getattr(here, name) for name in unknown} | {"versions": {**here.versions, **older.versions}}
    )
    return [*known.differences(here), "threads and kernels, which the record does not have"]


def _apart(record: Record, then: Path, now: Path) -> str | None:
    """Say how many images came out otherwise than then, "" where none did; None where nothing is left to compare."""
    if record.outcomes is None or not then.is_file() or not now.is_file():
        return None
    if not has_outcomes(record, then):
        return f"{then} is not the file that the record names"
    kept = outcomes.read(then)
    count = outcomes.images_apart(kept, outcomes.read(now))
    if count is None:
        return "they are others than then"
    return f"{count} of {kept.images} came out otherwise" if count else ""


def _edits(record: Record, done: Done, copy: Path) -> Iterator[str]:
    """A line for each field in which the record is not what its stage wrote."""
    told = {name: value for name, value in done.metrics.items() if name != "images_skipped"}
    ours = record.model_dump(mode="json", by_alias=True)
    metrics = ours.pop("metrics")
    for name in sorted({*told, *metrics}):
        if told.get(name) != metrics.get(name):
            yield f"The record was edited: {name} is {metrics.get(name)} there, and {told.get(name)} in {DONE}."
    if copy.is_file():  # versions before there was one kept none
        theirs = read_file(copy).model_dump(mode="json", by_alias=True)
        for name in sorted({*ours, *theirs} - {"metrics"}):
            if ours.get(name) != theirs.get(name):
                yield f"The record was edited: {name} is not what the stage's own copy has."
