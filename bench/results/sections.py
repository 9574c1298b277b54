"""A table before it is text: sections of columns, rows, cells and notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.config.studies import RowField
from bench.record import Record
from bench.results.statistics import About, Summary, Verdict

TITLES = {"full": "Full schedules", "mini": "Profile mini", "smoke": "Profile smoke (rendered scenes; no evidence)"}

EMPTY = "–"  # stands for a value or a text that there is none of


@dataclass(frozen=True)
class Column:
    """One measured quantity: values in a column were all measured the same way."""

    header: str
    task: str
    metric: str
    protocol: str = ""  # hash; empty for published values alone
    data: str = ""  # fingerprint of the data measured on
    decimals: int = 2
    mixed: bool = False  # several data sets, each by a protocol of its own, which its cells name
    amount: bool = False  # what a stage took, and not how good its result is: nothing is compared
    published: bool = False  # whether published values stand here
    compared: bool = True  # whether a difference to the baseline row means something
    against: tuple[str, str] | None = None  # (task, metric) of the baseline row that it is to; None is this one
    remark: str = ""  # what people must know to read it

    @property
    def title(self) -> str:
        """Its header for people, with the remark; programs find it by `header` alone."""
        return f"{self.header} ({self.remark})" if self.remark else self.header


@dataclass(frozen=True)
class Base:
    """The cell that a difference is to: the label of its row, its values, and the records that these are of."""

    label: str
    values: tuple[tuple[float, ...], ...]
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """The values of one row in one column, those of a trunk together, and how they compare with the baseline's."""

    values: tuple[tuple[float, ...], ...]  # of each trunk, in the order of task seeds
    summary: Summary
    published: bool = False
    best: bool = False
    best_about: About = "methods"  # `weights`: that it is bold rests on a single trunk, its own or that of the highest
    difference: float | None = None  # of means, to the baseline
    protocol: str = ""  # hash
    precision: str = ""  # that it was computed in, as far as that is known: bf16, float32, or "bf16 and float32"
    other_code: str = ""  # stages that ran other code than that of now, with how many runs' they are, in words
    interventions: str = ""  # what the pretrainings of its runs did by themselves, in words
    signed: bool = False  # a difference itself
    verdict: Verdict | None = None
    stages: tuple[str, ...] = ()  # fingerprints of the stages whose records its values are of
    base: Base | None = None  # what the difference is to


@dataclass(frozen=True)
class Row:
    """One line: the leading texts (pretrain set, pretrain, backbone) and a cell, or none, a column."""

    leading: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    published: bool = False
    name: str = ""  # the pretraining by which a baseline is chosen
    label: str = ""  # the same, with a suffix of its fingerprint where the name alone is ambiguous
    older: str = ""  # what older definitions of objectives it was pretrained by, in words
    arch: str = ""  # of its backbone; "" where a published row does not say it


@dataclass(frozen=True)
class Line:
    """One row, with what it comes from."""

    row: Row
    fields: dict[RowField, str]  # its leading texts
    record: Record | None = None  # the first of its records; None for a published row

    @property
    def others(self) -> dict[str, Any]:
        """The pretraining's settings without the objective: what a comparison of objectives keeps equal."""
        settings = self.record.settings.get("pretrain", {}) if self.record is not None else {}
        return {key: value for key, value in settings.items() if key != "objective"}

    @property
    def alike(self) -> tuple[str, ...]:
        """What rows of a group share: all leading texts but the method."""
        return tuple(text for field, text in self.fields.items() if field != "method")


@dataclass(frozen=True)
class Section:
    """One table with its heading and the notes below it."""

    title: str
    key: str  # full, mini, smoke, or the name of a study's table
    leading: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    named: int = 0  # which leading text names the run; published rows are marked there
    profile: str = "full"
