"""The checksums of what a stage left, which `done.json` lists and the stages after it compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.config.kind_facts import file_of
from bench.config.recipe import epoch_file
from bench.config.tasks import KINDS, Task
from bench.errors import BadInput, StageFailed
from bench.execute.stage_file import DONE, StageFile, finished, read_stage
from bench.files import sha256_of
from bench.outcomes import OUTCOMES, disagreement, read
from bench.plan import Stage
from bench.record import OutcomesFile, Record, read_file, write

WEIGHTS = ("*.ckpt", "*.safetensors", "*.pth")
BEFORE = ("previous.ckpt", "previous.safetensors")  # the checkpoint before the newest one


def sums_of(folder: Path, outputs: Iterable[str]) -> dict[str, str]:
    """Return {name: sha256} of the files that a stage's kind must leave, and of weights and outcomes beside them."""
    names = {*outputs, OUTCOMES} | {file.name for pattern in WEIGHTS for file in folder.glob(pattern)}
    return {name: sha256_of(folder / name) for name in sorted(names.difference(BEFORE)) if (folder / name).is_file()}


def check_parent(stage: StageFile, role: str, folder: Path) -> None:
    """Check that the parent in `folder` is finished, and that the files which are read of it are those that it left.

    Stages of older versions listed no checksums: nothing is compared. A file that is missing is refused by what reads
    it. Raises BadInput, which names the file.
    """
    done = finished(folder)
    names = set(read_stage(folder).stage_kind.outputs)
    if role == "init" and stage.recipe.init is not None and stage.recipe.init.epoch is not None:
        names = {epoch_file(stage.recipe.init.epoch)}
    for name in sorted(names & done.files.keys()):
        file = folder / name
        if file.is_file() and sha256_of(file) != done.files[name]:
            anew = "it is made anew"
            if name == "last.ckpt" and (folder / BEFORE[0]).is_file():
                anew, folder = "training goes on from the checkpoint before it", folder / DONE
            raise BadInput(
                f"{file} was changed after it was written (its sha256 is not that in {DONE}); remove {folder}, then "
                f"bench run: {anew}."
            )


def forget_before(folder: Path) -> None:
    """Remove the checkpoint before the newest one, of a stage that is done."""
    for name in BEFORE:
        (folder / name).unlink(missing_ok=True)


def check_results(folder: Path, stage: StageFile, metrics: object) -> None:
    """Raise StageFailed where a stage has not left what its kind declares: its files, and a number for each column.

    Some of our own metrics depend on the objective: what a kind takes over from one of ours may be left out.
    """
    kind = stage.stage_kind
    where = f"{stage.title}: {kind.__name__} in {file_of(kind)}"
    if not isinstance(metrics, Mapping):
        raise StageFailed(f"{where} returned {metrics!r}, but it should return {{metric: number}}.")
    if issubclass(kind, Task):
        optional = {name for ours in KINDS.values() if issubclass(kind, ours) for name in ours.metrics}
        if lacking := [name for name in kind.metrics if name not in metrics and name not in optional]:
            raise StageFailed(f"{where} declares the metric {lacking[0]} and did not return it.")
    if lacking := [name for name in kind.outputs if not (folder / name).is_file()]:
        raise StageFailed(f"{where} declares the output {lacking[0]} and did not write it into {folder}.")


def outcomes_file(folder: Path, metrics: Mapping[str, object]) -> OutcomesFile | None:
    """Return what a record says of the outcomes of images in a task's folder; None where its kind kept none.

    Raises StageFailed for a file that cannot be read, or that does not give the metrics.
    """
    file = folder / OUTCOMES
    if not file.is_file():
        return None
    try:
        outcomes = read(file)
    except BadInput as error:
        raise StageFailed(str(error)) from error
    if said := disagreement(outcomes, metrics):
        raise StageFailed(f"{file} does not give the metrics that its stage returned: {said}.")
    return OutcomesFile(sha256=sha256_of(file), bytes=file.stat().st_size, images=outcomes.images)


def has_outcomes(record: Record, file: Path) -> bool:
    """Whether a file holds the outcomes that a record names, to the bit; True where it names none."""
    return record.outcomes is None or (file.is_file() and sha256_of(file) == record.outcomes.sha256)


def restored_outcomes(stages: Iterable[Stage], states: Mapping[str, str], work_dir: Path, records: Path) -> list[str]:
    """Put outcomes of images back beside the records that have lost them, from the stages' folders; return notes.

    What is in a folder goes back if it is to the bit what the record names. A record whose outcomes are in neither
    place keeps its number; the note says what is lost with them.
    """
    notes = []
    for stage in stages:
        if not stage.is_task or states.get(stage.fingerprint) != "recorded":
            continue
        file = records / stage.record_name
        try:
            record = read_file(file)
        except BadInput:
            continue  # what reads records says so
        beside, kept = records / record.outcomes_name, work_dir / stage.folder / OUTCOMES
        if has_outcomes(record, beside):
            continue
        if has_outcomes(record, kept):
            write(record, records, kept)
            notes.append(f"{beside} was missing or changed, and was put back from {kept.parent}.")
        else:
            notes.append(
                f"{beside} is missing or changed, so that {stage.title} cannot be compared image by image; restore it "
                "from version control, or delete the record to measure anew."
            )
    return notes
