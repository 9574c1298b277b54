"""Studies as data: what a published table holds, which of our results belong beside it, and what to run for it.

A study file is TOML in a folder `reference`, beside the CSV files of the published numbers. The shipped ones
(`results/reference/*.toml`) always count; a results folder may have a `reference` with its own. Nothing here imports
torch or runs anything.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from bench.architectures import ArchitectureName
from bench.config.config_files import shipped
from bench.config.recipe import Frozen
from bench.errors import BadInput

SHIPPED = "results/reference"

# What a row can be told by. `method` is a study's name for a pretraining, `pretrain` the name of our config.
RowField = Literal[
    "dataset", "pretrain_set", "pretrain", "method", "image_size", "epochs", "backbone", "batch_size", "subset"
]
TRANSFER_FIELDS: tuple[RowField, ...] = ("pretrain_set", "pretrain", "backbone")


class RowColumn(Frozen):
    """A column of the CSV file that says which row it is."""

    column: str
    field: RowField


class ValueColumn(Frozen):
    """A column of the CSV file with numbers, and what they are of ours."""

    column: str
    metric: str
    task: str = ""  # "{dataset}" stands for the row's data set; "" for what the pretraining itself logged at its end
    header: str
    factor: float = 1  # from the published unit to the metric's
    decimals: int = 2
    compared: bool = True  # whether a difference to the baseline row means something
    against: str = ""  # the column of the baseline row that the difference is to; "" is this one

    @property
    def key(self) -> tuple[str, str]:
        """(task, metric)."""
        return self.task, self.metric


class Method(Frozen):
    """A published name for pretrainings whose objective has these settings; of several that fit, the one with most."""

    name: str
    objective: dict[str, Any]


class Unusual(Frozen):
    """What is added to a method's name where a setting is not as usual."""

    setting: str
    words: str  # with {value}, or {value:g} for a number
    unless: Any = None  # a value that is not said
    only: Any = None  # the one value that is said; None: any

    @field_validator("words")
    @classmethod
    def _formats(cls, words: str) -> str:
        try:
            words.format(value=1)
        except (ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"{words!r} is no text with {{value}} in it ({error}); correct it") from error
        return words

    def said(self, settings: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
        """Return the words for an objective with these settings; "" where the setting is as usual, or is not said."""
        value = settings.get(self.setting)
        if value == usual.get(self.setting) or value == self.unless or (self.only is not None and value != self.only):
            return ""
        try:
            return self.words.format(value=value)
        except (ValueError, TypeError):  # a number was expected
            return f"{self.setting}={value}"


class Table(Frozen):
    """A published table.

    With `datasets` it has sections for itself, which hold all our results on those data sets. Without, its columns and
    rows join the transfer table, which holds all other results.
    """

    title: str = ""
    file: str | None = None  # CSV, beside the study file; lines that begin with # are comments
    datasets: tuple[str, ...] = ()  # in the order of rows
    kinds: tuple[str, ...] = ()  # of tasks; (): all
    archs: tuple[ArchitectureName, ...] = ()  # whose results stand here and in no table without them; (): all others
    rows: tuple[RowColumn, ...] = Field(min_length=1)
    columns: tuple[ValueColumn, ...] = Field(min_length=1)
    methods: tuple[Method, ...] = ()  # in the order of rows; (): a method is the name of our config
    usual: dict[str, Any] = {}  # values of an objective's settings that older records do not state
    unusual: tuple[Unusual, ...] = ()
    baseline: str = ""  # the method that differences are to
    gap: bool = True  # whether there is a section with measured less published
    measured_notes: tuple[str, ...] = ()
    published_notes: tuple[str, ...] = ()
    gap_notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Table:
        columns = [row.column for row in self.rows] + [column.column for column in self.columns]
        if twice := sorted({name for name in columns if columns.count(name) > 1}):
            raise ValueError(f"column {twice[0]!r} is named twice; name each once")
        if lost := {column.against for column in self.columns} - {"", *(column.column for column in self.columns)}:
            raise ValueError(f"against = {min(lost)!r} is no column of this table; name one of its columns")
        fields = {row.field for row in self.rows}
        if self.datasets:
            if not self.title or not {"dataset", "method"} <= fields:
                raise ValueError("a table with datasets needs a title and rows with the fields dataset and method")
        elif wrong := fields - set(TRANSFER_FIELDS) or {"pretrain"} - fields:
            raise ValueError(
                f"a table without datasets has the row fields {', '.join(TRANSFER_FIELDS)}, and must have pretrain, "
                f"which does not fit {min(wrong)!r}; give datasets, or other rows"
            )
        for name in ("kinds", "archs", "methods", "usual", "unusual", "baseline", "measured_notes"):
            if getattr(self, name) and not self.datasets:
                raise ValueError(f"{name} is for tables with datasets; leave it out, or give datasets")
        for column in self.columns:
            task = column.task
            if (task and not task.startswith("{dataset}_")) if self.datasets else (not task or "{" in task):
                wanted = "begins with {dataset}_" if self.datasets else "is the name of a downstream config"
                raise ValueError(f"task {column.task!r} of column {column.column!r} does not fit; here it {wanted}")
        return self

    def method(self, objective: Mapping[str, Any]) -> str | None:
        """Return the published name for an objective with these settings; None where there is none."""
        settings = self.usual | {key: value for key, value in objective.items() if value is not None}
        fitting = [
            each for each in self.methods if all(settings.get(key) == one for key, one in each.objective.items())
        ]
        if not fitting:
            return None
        words = [words for unusual in self.unusual if (words := unusual.said(settings, self.usual))]
        name = max(fitting, key=lambda method: len(method.objective)).name
        return f"{name} ({', '.join(words)})" if words else name


class Part(Frozen):
    """Pretrainings of one data set, each once for every combination of swept values, and what is measured of them."""

    dataset: str
    pretrain: tuple[str, ...] = Field(min_length=1)
    downstream: tuple[str, ...] = Field(min_length=1)
    set: tuple[str, ...] = ()  # as --set, under profile full alone: other profiles have schedules of their own
    set_always: tuple[str, ...] = ()  # as --set, under every profile: what is compared, such as a network
    sweep: tuple[str, ...] = ()  # as --sweep
    task_seeds: tuple[Annotated[int, Field(ge=0)], ...] = ()  # as --task-seeds, unless that is given

    def settings(self, study: Study, profile: str = "full") -> tuple[str, ...]:
        """Return what is laid over the configs of this part under a profile, as --set has it, a later one winning."""
        scheduled = (study.set, self.set) if profile == "full" else ()
        return tuple(word for some in (study.set_always, self.set_always, *scheduled) for word in some)


class Study(Frozen):
    """Parts in the order in which they run: all of one seed before the next seed. `smoke` is the path in seconds."""

    summary: str
    set: tuple[str, ...] = ()  # for all parts, before their own
    set_always: tuple[str, ...] = ()
    parts: tuple[Part, ...] = Field(min_length=1)
    smoke: Part


class StudyFile(Frozen):
    """Published tables of one source by name, and the studies that `bench reproduce NAME` runs."""

    source: str
    tables: dict[str, Table] = {}
    studies: dict[str, Study] = {}


def reference_folder(results_dir: Path) -> Path:
    """Return where published rows lie: in the results folder, or else with the package."""
    folder = results_dir / "reference"
    return folder if folder.is_dir() else shipped(SHIPPED)


def tables_of(reference: Path) -> dict[str, Table]:
    """Return {name: table} of all study files; one without notes on published rows gets its source as one."""
    tables = {}
    for file, content in study_files(reference).items():
        for name, table in content.tables.items():
            if table.file is not None and file.parent == reference and not (reference / table.file).is_file():
                raise BadInput(
                    f"{file} names {table.file}, which is not beside it; put it there, or correct tables.{name}.file."
                )
            notes = table.published_notes or (f"† Published in {content.source}; not measured here.",)
            tables[name] = table.model_copy(update={"published_notes": notes})
    return tables


def studies_of(reference: Path) -> dict[str, Study]:
    """Return {name: study} of all study files."""
    return {name: study for content in study_files(reference).values() for name, study in content.studies.items()}


def study_files(reference: Path) -> dict[Path, StudyFile]:
    """Return {file: content} of the shipped study files and of those in `reference`, which win over a shipped name.

    Raises BadInput for a file that is no study file, or two files with a table or a study of one name.
    """
    files = {file.stem: file for folder in (shipped(SHIPPED), reference) for file in sorted(folder.glob("*.toml"))}
    contents = {file: read_study_file(file) for file in files.values()}
    owner: dict[tuple[str, str], Path] = {}
    for file, content in contents.items():
        for kind, names in (("table", content.tables), ("study", content.studies)):
            for name in names:
                if (other := owner.setdefault((kind, name), file)) != file:
                    raise BadInput(f"{file} and {other} both have a {kind} {name!r}; rename one.")
    return contents


def read_study_file(file: Path) -> StudyFile:
    """Read one study file; BadInput names the file, the key, what is wrong with it, and the remedy."""
    try:
        return StudyFile.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = str(error)
    raise BadInput(f"{file} is not a readable study file ({reason}); correct it.")
