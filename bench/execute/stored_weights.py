"""What a record's stage left below a work folder, to be used again: checked first, and only read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.convert.proof import load_proven
from bench.data.roots import resolve_roots
from bench.data.sets import fingerprint
from bench.errors import BadInput, StageFailed
from bench.execute.anew import anew
from bench.execute.sources import check_unchanged
from bench.execute.stage import job_of
from bench.execute.stage_file import DONE, STAGE, Done, StageFile, finished, read_stage
from bench.files import sha256_of, write_text
from bench.made import Part
from bench.record import Record
from bench.run_names import task_label
from bench.stages.job import Job
from bench.train.precision import FILE as PRECISION
from bench.train.precision import resolve


@dataclass(frozen=True)
class Stored:
    """A finished stage of a record."""

    record: Record
    folder: Path
    stage: StageFile
    done: Done
    inputs: dict[str, Path]  # role -> its parent's folder
    work_dir: Path

    @property
    def trunk_folder(self) -> Path:
        """The folder of its conversion."""
        return self.inputs["convert"]

    def check_code(self) -> None:
        """Raise BadInput where code from outside has changed since the stage was planned."""
        try:
            check_unchanged(self.stage.sources, self.stage.recipe, self.stage.task)
        except BadInput as error:
            changed = str(error).partition(";")[0]
            raise BadInput(f"{changed}, so that other code would evaluate than gave the number; restore it.") from error

    def weights(self) -> tuple[str, ...]:
        """Return the files of what the stage trained, none where it trained nothing.

        Raises BadInput for a kind of task that does not say which they are, and for a file that is not there any more.
        """
        stored = self.stage.stage_kind.stored()
        if stored is None:
            raise BadInput(
                f"Results of the kind {self.stage.kind} cannot be evaluated without training: it does not say which "
                f"files hold what it trained (evaluates_from); make the row anew: {anew(self.record).command}"
            )
        if lacking := [name for name in stored if not (self.folder / name).is_file()]:
            raise BadInput(f"{self.folder} no longer holds {lacking[0]}, its trained weights; {_again(self.record)}")
        return stored

    def check_weights(self, names: Sequence[str]) -> None:
        """Raise StageFailed where one of these files was changed after the stage had ended."""
        for name in names:
            if self.done.files.get(name, "") not in ("", sha256_of(self.folder / name)):
                raise StageFailed(
                    f"The number of {self.record.file_name} does not stand on these weights: {self.folder / name} was "
                    f"changed after its stage had ended (its sha256 is not that in {DONE})."
                )

    def check_trunk(self) -> None:
        """Raise StageFailed where the trunk is not the one that was proven when its conversion ended."""
        folder = self.trunk_folder
        said = finished(folder).metrics.get("trunk_hash")
        try:
            trunk = load_proven(folder)
        except BadInput as error:
            raise StageFailed(
                f"The number of {self.record.file_name} does not stand on these weights: {error}"
            ) from error
        if said is not None and said != trunk.hash:
            raise StageFailed(
                f"The number of {self.record.file_name} does not stand on these weights: {folder} holds another trunk "
                "than its conversion left, with a proof of its own."
            )

    def roots(self, words: Sequence[str]) -> dict[str, str]:
        """Return where the data lie that the stage reads: as given, or where they lay.

        Raises BadInput where they are gone, or others now.
        """
        roots = dict(self.stage.data_roots)
        given = resolve_roots(words) if words else None
        for name, planned in self.stage.data.items():
            if given is not None:
                roots[name] = str(given.find(name))
            if name not in roots or not Path(roots[name]).is_dir():
                raise BadInput(f"The data set {name} is no longer where it was; give --data-root {name}=DIR.")
            then, now = planned.partition("+")[0], fingerprint(name, Path(roots[name]), self.work_dir / "data.json")
            if now != then:  # without the identity of a pack that was trained from
                raise BadInput(
                    f"The data set {name} in {roots[name]} is another now, with the fingerprint {now} and not {then}; "
                    f"give --data-root {name}=DIR with the one of then."
                )
        return roots

    def job(self, place: Path, names: Sequence[str], roots: dict[str, str]) -> Job:
        """Return what the stage is given where it evaluates once more in the empty folder `place`, and trains nothing.

        `names` are the files of its weights, which are linked there. This process takes as many threads as the stage
        had, and the precision that it computed in.
        """
        import torch

        config = self.stage.task
        assert config is not None
        for name in names:
            (place / name).symlink_to((self.folder / name).absolute())
        kept = kept_part(self.record)
        if kept is not None and kept.threads is not None:
            torch.set_num_threads(kept.threads)
        if self.stage.stage_kind.auto_precision:
            if self.done.precision is not None:
                write_text(place / PRECISION, json.dumps({"auto": self.done.precision}) + "\n")
            config = resolve(config, place, starting=False)
        job = job_of(self.stage.model_copy(update={"data_roots": roots}), config, place, self.inputs)
        return replace(job, features=None, evaluation_only=True)


def stored(record: Record, work_dir: Path) -> Stored:
    """Return the stage of a record below `work_dir`. Raises BadInput where it is not there, or not finished."""
    label = task_label(record.pretrain, record.task, record.seed, record.task_seed)
    folder = work_dir / record.kind.replace(":", ".") / f"{label}-{record.fingerprints.stage[:12]}"
    if not (folder / STAGE).is_file():
        raise BadInput(f"{folder} is not there; give the --work-dir of the run, which holds its weights.")
    stage, done = read_stage(folder), finished(folder)
    if stage.fingerprint != record.fingerprints.stage:
        raise BadInput(
            f"{folder} is of another stage than the record, whose fingerprint begins alike; {_again(record)}"
        )
    inputs = {role: work_dir / place for role, place in stage.inputs.items()}
    return Stored(record, folder, stage, done, inputs, work_dir)


def kept_part(record: Record) -> Part | None:
    """Return what the record's own stage ran with at its end, if that was kept."""
    made = list(record.chain.values())[-1:]
    return made[0].parts[-1] if made and made[0].parts else None


def _again(record: Record) -> str:
    return f"make the row anew: {anew(record).command}"
