"""One result, with all that is needed to believe it: a JSON file written whole or not at all, and never edited.

The files of a records folder are the truth that every table and plot is derived from.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, StringConstraints, ValidationError, field_validator

from bench import made
from bench.checkout import Git as Git
from bench.checkout import git
from bench.code.used import CodeUsed
from bench.config.recipe import Frozen, Profile
from bench.errors import BadInput, shortened, writing_to
from bench.files import add_checksum, replacing, sha256_of, without_checksum, write_text
from bench.made import Hardware as Hardware
from bench.made import Made
from bench.outcomes import OUTCOMES
from bench.run_names import record_name

Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12,64}$")]
# Squares of larger ones would not be numbers, where a spread is computed.
Score = Annotated[float, Field(allow_inf_nan=False, ge=-1e100, le=1e100)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Metric = Whole | Score | dict[str, Score | None]  # one number, or one a class (None: it never occurred)


class Fingerprints(Frozen):
    """What tells results apart: this very stage; its pretraining over all seeds; how it was measured."""

    stage: Hex
    recipe: Hex
    protocol: Hex


class OutcomesFile(Frozen):
    """What a record says of the file beside it that holds what was said of each image (`bench.outcomes`)."""

    sha256: Hex
    bytes: int = Field(gt=0)
    images: int = Field(ge=0)  # with those that could not be read


class Record(Frozen, populate_by_name=True):
    """The result of one task for one pretraining and one seed. Metrics carry their unit in their name."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    pretrain: str
    pretrain_set: str  # the data set that was pretrained on; "none" for a control without pretraining
    arch: str
    task: str
    kind: str
    dataset: str  # the data set that the task was measured on
    profile: Profile
    seed: int = Field(ge=0)  # of the pretraining
    # of the task, where that is another; None, as in older records: the pretraining's
    task_seed: int | None = Field(default=None, ge=0, exclude_if=lambda seed: seed is None)
    # hash of the trunk's weights, by which two results of the same weights are known. Not there in older records
    trunk: Hex | None = Field(default=None, exclude_if=lambda trunk: trunk is None)
    metrics: dict[str, Metric] = Field(min_length=1)
    # of the pretraining, at its end: its loss and that loss's terms, as logged. {} where nothing was trained, or known
    pretrain_metrics: dict[str, FiniteFloat] = {}
    fingerprints: Fingerprints
    data: dict[str, str]  # data set -> fingerprint, for the task and all its ancestors
    settings: dict[Literal["pretrain", "downstream"], dict[str, Any]]  # as resolved
    git: Git = Git()
    versions: dict[str, str | None] = {}
    hardware: Hardware | None = None
    wall_seconds: dict[str, float] = {}  # stage -> seconds
    # stage -> what that time does not hold, since an earlier process did it: "120 of 400 steps", "500 features of val"
    untimed: dict[str, list[str]] = Field(default={}, exclude_if=lambda untimed: not untimed)
    # stage -> the most memory that its first process held, without the loader's workers; "<stage> gpu": the most that
    # torch had allocated on its device
    peak_memory_mib: dict[str, float] = {}
    # stage -> the share of its loops' time that its first process waited for data. Not there in older records
    data_wait_share: dict[str, float] = Field(default={}, exclude_if=lambda shares: not shares)
    # stage -> what it computed in: `float32` or `bf16`. Not there in older records, whose settings say it. The
    # pretrainings that this one continues are there by their titles, `pretrain coco-s0`
    precision: dict[str, str] = {}
    # objective -> its definition, of the pretraining and of those that it continues. Not there in older records, whose
    # objectives had their first
    definitions: dict[str, int] = Field(default={}, exclude_if=lambda definitions: not definitions)
    # what the task's network was seen to compute of a fixed image: "C2", "C5 bf16", "feature" -> the largest difference
    # from the pretraining encoder's, relative. Not there in older records, and where a kind of task proves nothing
    load_proof: dict[str, float] = Field(default={}, exclude_if=lambda differences: not differences)
    # the task's scores on the way, by the steps of its training, the last ones those of `metrics`. () where they were
    # taken at the end alone, and in older records. It is no result: how often it is looked is in no fingerprint
    curve: tuple[dict[str, FiniteFloat], ...] = Field(default=(), exclude_if=lambda curve: not curve)
    # stage -> the code that it ran with, one for each sitting that had another; the stages are those of `precision`.
    # Not there in older records
    code: dict[str, tuple[CodeUsed, ...]] = Field(default={}, exclude_if=lambda code: not code)
    # metric -> header of its column, where the kind of task is not ours and may not be installed where tables are made
    columns: dict[str, str] = Field(default={}, exclude_if=lambda columns: not columns)
    # stage by its title, `pretrain coco-s0` -> what it was made of; from the first pretraining to the task. Not there
    # in older records, whose `git`, `versions` and `hardware` are of the task's stage alone
    chain: dict[str, Made] = Field(default={}, exclude_if=lambda chain: not chain)
    # of each validation image, in `outcomes_name` beside this file. None in older records, and for kinds without
    outcomes: OutcomesFile | None = Field(default=None, exclude_if=lambda outcomes: outcomes is None)
    weights: str | None = None  # of the trunk, relative to the work folder
    images_skipped: int = Field(default=0, ge=0)
    command: str | None = None
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))  # UTC, ISO 8601

    @field_validator("settings")
    @classmethod
    def _in_parts(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Refuse what tables look into and is no dictionary; the rest is as its configs had it."""
        pretrain = settings.get("pretrain", {})
        for key, kinds in (("objective", dict), ("init", dict | None)):
            if key in pretrain and not isinstance(value := pretrain[key], kinds):
                raise ValueError(f"pretrain.{key} is {shortened(value)}, and no dictionary")
        if not isinstance(name := pretrain.get("objective", {}).get("name", ""), str):
            raise ValueError(f"pretrain.objective.name is {shortened(name)}, and no name")
        return settings

    @property
    def file_name(self) -> str:
        """`<pretrain>__<task>__s<seed>__<first 12 digits of the stage's fingerprint>.json`.

        With a seed of the task's own, `…__s<seed>t<task seed>__…`.
        """
        return record_name(self.pretrain, self.task, self.seed, self.fingerprints.stage, self.task_seed)

    def as_text(self) -> str:
        """Return what its file holds: JSON, whose first entry is the checksum of the rest."""
        return add_checksum(self.model_dump_json(indent=1, by_alias=True))

    @property
    def own_seed(self) -> int:
        """The seed of the task."""
        return self.seed if self.task_seed is None else self.task_seed

    @property
    def seeds(self) -> str:
        """Its seeds for people: "seed 0", or "seed 0 task seed 3" where the task has one of its own."""
        return f"seed {self.seed}" + ("" if self.task_seed is None else f" task seed {self.task_seed}")

    @property
    def outcomes_name(self) -> str:
        """The name of the file with what was said of each image, which a record with `outcomes` has beside it."""
        return beside(Path(self.file_name)).name


def beside(file: Path) -> Path:
    """Return where the outcomes of images lie that belong to a record's file: `<its stem>.outcomes.npz`."""
    return file.with_name(f"{file.stem}.{OUTCOMES}")


def write(record: Record, folder: Path, outcomes: Path | None = None) -> Path:
    """Write a record into `folder` (made if missing) and return its file; a record once written stays.

    A second record of the same stage is not written: the first one is kept. `outcomes` is the file that its field of
    that name describes, which is copied beside it, before it, so that no record is without; where it is lacking beside
    the first one, and is that one's, it is put there again.
    Raises BadInput when the folder cannot be written, or when the file exists and holds something else.
    """
    file, kept = folder / record.file_name, record
    if file.exists():
        kept = read_file(file)
        if kept.fingerprints.stage != record.fingerprints.stage:
            raise BadInput(f"{file} holds the record of another stage; move it away, then run the stage again.")
    with writing_to(folder, "--results-dir"):
        folder.mkdir(parents=True, exist_ok=True)
        if outcomes is not None and kept.outcomes is not None and kept.outcomes == record.outcomes:
            place = beside(file)
            if not place.is_file() or sha256_of(place) != kept.outcomes.sha256:
                with replacing(place) as temporary:
                    shutil.copyfile(outcomes, temporary)
        if not file.exists():
            write_text(file, record.as_text())
    return file


def read_file(file: Path) -> Record:
    """Read one record; BadInput names the file, what is wrong with it, and the remedy."""
    try:
        return Record.model_validate_json(without_checksum(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:200]
        reason = first["msg"].removeprefix("Value error, ")
        reason = f"{where}: {reason}" if where else reason
    except (OSError, ValueError) as error:
        reason = str(error)
    raise BadInput(
        f"{file} is not a record that this version reads ({reason}); restore it from version control, or delete "
        "it and run its stage again."
    )


def read_all(folder: Path) -> list[Record]:
    """Return the records of a folder in the order of their file names ([] if there is no folder).

    Raises BadInput for a file that is broken, or whose name does not fit its content (a copy would count twice).
    """
    records = []
    with _no_collection():
        for file in sorted(folder.glob("*.json")):
            record = read_file(file)
            if file.name != record.file_name:
                raise BadInput(
                    f"{file} holds the record {record.file_name}; rename it to that, or delete it if it is a copy."
                )
            records.append(record)
    return records


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the search for cycles, of which records have none.

    It would look at all records read so far again and again: 40 % of the time that reading 100,000 of them took.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def environment(gpus: Sequence[str] = ()) -> dict[str, Any]:
    """Return the fields `git`, `versions` and `hardware` of a record: `Record(**environment(), …)`.

    `gpus` are the names of the devices that the stage used.
    """
    return {"git": git(), "versions": made.versions(), "hardware": made.hardware(gpus)}
