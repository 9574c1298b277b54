"""Evaluate the stored weights of a record again, and say whether its number stands: `bench verify`.

The stage runs once more in a scratch folder, on the weights that it left there at its end, so that it trains nothing;
neither its folder nor the record is written to, and features that stages share are not read.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import outcomes
from bench.convert.proof import load_proven
from bench.data.roots import resolve_roots
from bench.data.sets import fingerprint
from bench.errors import BadInput, StageFailed
from bench.execute.agreement import Verdict, judged
from bench.execute.anew import anew
from bench.execute.sources import check_unchanged
from bench.execute.stage import RECORD, computed_in, function_of, job_of
from bench.execute.stage_file import DONE, STAGE, Done, StageFile, finished, read_stage
from bench.execute.stage_outputs import has_outcomes
from bench.execute.words import duration
from bench.files import sha256_of, write_text
from bench.made import Part, part
from bench.outcomes import OUTCOMES
from bench.record import Record, read_file
from bench.results.mixtures import Stages, known_stages
from bench.run_names import task_label
from bench.train.precision import FILE as PRECISION
from bench.train.precision import resolve


def verify(record: Record, work_dir: Path, data_root: Sequence[str] = ()) -> Verdict:
    """Evaluate the weights that a record's stage left below `work_dir`.

    Raises BadInput for what is not there any more, and for a kind of task that cannot be evaluated without training;
    StageFailed for weights that are not those of the record.
    """
    folder, stage, done = _stage_of(record, work_dir)
    stored = stage.stage_kind.stored()
    if stored is None:
        raise BadInput(
            f"Results of the kind {stage.kind} cannot be evaluated without training: it does not say which files hold "
            f"what it trained (evaluates_from); make the row anew: {anew(record).command}"
        )
    if lacking := [name for name in stored if not (folder / name).is_file()]:
        raise BadInput(f"{folder} no longer holds {lacking[0]}, its trained weights; {_again(record)}")
    try:
        check_unchanged(stage.sources, stage.recipe, stage.task)
    except BadInput as error:  # of code that is not ours
        changed = str(error).partition(";")[0]
        raise BadInput(f"{changed}, so that other code would evaluate than gave the number; restore it.") from error
    for name in stored:
        if done.files.get(name, "") not in ("", sha256_of(folder / name)):
            raise StageFailed(
                f"The number of {record.file_name} does not stand on these weights: {folder / name} was changed after "
                f"its stage had ended (its sha256 is not that in {DONE})."
            )
    inputs = {role: work_dir / place for role, place in stage.inputs.items()}
    _check_trunk(inputs["convert"], record)
    for place in inputs.values():
        finished(place)
    roots = _roots(stage, data_root, work_dir)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as scratch:
        place = Path(scratch) / folder.name
        place.mkdir()
        for name in stored:
            (place / name).symlink_to((folder / name).absolute())
        now, here = _evaluated(record, stage, done, place, inputs, roots)
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


def _stage_of(record: Record, work_dir: Path) -> tuple[Path, StageFile, Done]:
    """The folder of a record's stage, and what is in it."""
    label = task_label(record.pretrain, record.task, record.seed, record.task_seed)
    folder = work_dir / record.kind.replace(":", ".") / f"{label}-{record.fingerprints.stage[:12]}"
    if not (folder / STAGE).is_file():
        raise BadInput(f"{folder} is not there; give the --work-dir of the run, which holds its weights.")
    stage, done = read_stage(folder), finished(folder)
    if stage.fingerprint != record.fingerprints.stage:
        raise BadInput(
            f"{folder} is of another stage than the record, whose fingerprint begins alike; {_again(record)}"
        )
    return folder, stage, done


def _again(record: Record) -> str:
    return f"make the row anew: {anew(record).command}"


def _check_trunk(folder: Path, record: Record) -> None:
    """Raise StageFailed where the trunk is not the one that was proven when its conversion ended."""
    said = finished(folder).metrics.get("trunk_hash")
    try:
        trunk = load_proven(folder)
    except BadInput as error:
        raise StageFailed(f"The number of {record.file_name} does not stand on these weights: {error}") from error
    if said is not None and said != trunk.hash:
        raise StageFailed(
            f"The number of {record.file_name} does not stand on these weights: {folder} holds another trunk than its "
            "conversion left, with a proof of its own."
        )


def _roots(stage: StageFile, words: Sequence[str], work_dir: Path) -> dict[str, str]:
    """Where the data lie that the stage reads: as given, or where they lay; BadInput where they are others now."""
    roots = dict(stage.data_roots)
    given = resolve_roots(words) if words else None
    for name, planned in stage.data.items():
        if given is not None:
            roots[name] = str(given.find(name))
        if name not in roots or not Path(roots[name]).is_dir():
            raise BadInput(f"The data set {name} is no longer where it was; give --data-root {name}=DIR.")
        then, now = planned.partition("+")[0], fingerprint(name, Path(roots[name]), work_dir / "data.json")
        if now != then:  # without the identity of a pack that was trained from
            raise BadInput(
                f"The data set {name} in {roots[name]} is another now, with the fingerprint {now} and not {then}; give "
                f"--data-root {name}=DIR with the one of then."
            )
    return roots


def _evaluated(
    record: Record, stage: StageFile, done: Done, place: Path, inputs: Mapping[str, Path], roots: dict[str, str]
) -> tuple[dict[str, Any], Part]:
    """The metrics of the stage's code on what lies in the scratch folder, and what this process ran with."""
    import torch

    config = stage.task
    assert config is not None
    kept = _kept_part(record)
    if kept is not None and kept.threads is not None:
        torch.set_num_threads(kept.threads)
    if stage.stage_kind.auto_precision:
        if done.precision is not None:
            write_text(place / PRECISION, json.dumps({"auto": done.precision}) + "\n")
        config = resolve(config, place, starting=False)
    here = part(precision=computed_in(stage.stage_kind, config), unreadable=stage.unreadable)
    job = job_of(stage.model_copy(update={"data_roots": roots}), config, place, inputs)
    with stage.in_its_mode():
        metrics = function_of(stage.stage_kind)(replace(job, features=None, evaluation_only=True))
    metrics = json.loads(json.dumps(metrics))  # as a record has them
    metrics.pop("images_skipped", None)  # of which training has its part
    return metrics, here


def _kept_part(record: Record) -> Part | None:
    """What the record's own stage ran with at its end, if that was kept."""
    made = list(record.chain.values())[-1:]
    return made[0].parts[-1] if made and made[0].parts else None


def _differences(record: Record, here: Part) -> list[str]:
    """What here may move the last digits, in words."""
    kept = _kept_part(record)
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
