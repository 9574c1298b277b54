"""A table before it is text: sections of columns, rows, cells and notes."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.results.statistics import Summary, Verdict

TITLES = {"full": "Full schedules", "mini": "Profile mini", "smoke": "Profile smoke (rendered scenes; no evidence)"}


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


@dataclass(frozen=True)
class Cell:
    """The values of one row in one column, one a seed, and how they compare with the baseline's."""

    values: tuple[float, ...]
    summary: Summary
    published: bool = False
    best: bool = False
    difference: float | None = None  # of means, to the baseline
    protocol: str = ""  # hash, where the column does not have it
    signed: bool = False  # a difference itself
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Row:
    """One line: the leading texts (pretrain set, pretrain, backbone) and a cell, or none, a column."""

    leading: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    published: bool = False
    name: str = ""  # the pretraining by which a baseline is chosen
    label: str = ""  # the same, with a suffix of its fingerprint where the name alone is ambiguous


@dataclass(frozen=True)
class Section:
    """One table with its heading and the notes below it."""

    title: str
    key: str  # full, mini, smoke, small_images
    leading: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())
