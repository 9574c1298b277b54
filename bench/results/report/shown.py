"""What a page shows, before it is HTML: tables, cells and what stands behind them, sentences, figures, pictures.

All texts are as they are; escaping is the template's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Sort = float | str | None


class Figure(Protocol):
    """A drawn figure: `svg` is one inline element, `rows` are the numbers behind it."""

    @property
    def name(self) -> str:
        """What `bench plot` calls it."""

    @property
    def title(self) -> str:
        """Its heading."""

    @property
    def caption(self) -> str:
        """What it shows."""

    @property
    def svg(self) -> str:
        """One `<svg>` element as text."""

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The numbers behind it, by their names."""


@dataclass(frozen=True)
class Behind:
    """What is worked out from a record and the code here: the command that makes it anew, and notes.

    `note` says in a sentence whether the code here plans this very record for the command.
    """

    command: str
    note: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One stage of a record's chain: its title, and (what, text) of each thing that is known of it."""

    title: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Evidence:
    """What stands behind one record."""

    key: str  # its stage's fingerprint, of which its element is named
    title: str
    facts: tuple[tuple[str, str], ...]
    metrics: tuple[tuple[str, str], ...]
    load_proof: tuple[tuple[str, str], ...]  # what was compared, and the largest relative difference
    chain: tuple[Stage, ...]
    settings: str  # key of the settings, which records may share
    behind: Behind
    text: str | None  # of its file; None where it is left out


@dataclass(frozen=True)
class ShownCell:
    """A cell as it is read, and the facts that open with it."""

    text: str  # the mean
    spread: str = ""  # "± 0.30"
    count: str = ""  # "3 trunks"
    difference: str = ""  # "+0.22"
    symbol: str = ""  # ↑ ↓ ≈ ?
    verdict: str = ""  # the symbol in words
    marks: str = ""  # of other code, interventions, single trunks
    best: bool = False
    sort: Sort = None
    dataset: str = ""  # that it was measured on
    protocol: str = ""
    key: str = ""  # of what opens; "" where nothing does
    title: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    settings_apart: tuple[tuple[str, str, str], ...] = ()  # key, here, in the row that it is compared with
    marred: tuple[str, ...] = ()
    records: tuple[tuple[str, str, str], ...] = ()  # key, seeds, value


@dataclass(frozen=True)
class ShownRow:
    """A row: its name, the other leading texts, and a cell, or none, a column."""

    name: str
    leading: tuple[str, ...]
    cells: tuple[ShownCell | None, ...]
    published: bool = False
    older: bool = False
    differs: str = ""  # of a published row: in what from the nearest measured one


@dataclass(frozen=True)
class ShownColumn:
    """A column: the words of its header, and those of the group of neighbours that it belongs to."""

    header: str
    group: str
    unit: str = ""


@dataclass(frozen=True)
class Finding:
    """What is believed of one column, for rows that are compared with each other."""

    about: str
    sentences: tuple[str, ...]
    judged: bool = True  # whether any test was possible


@dataclass(frozen=True)
class ShownTable:
    """One table of one architecture and one profile."""

    key: str
    title: str
    arch: str
    profile: str
    named: str
    leading: tuple[str, ...]
    columns: tuple[ShownColumn, ...]
    rows: tuple[ShownRow, ...]
    same: tuple[tuple[str, str], ...] = ()  # leading texts that all rows share
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    marred: tuple[str, ...] = ()

    @property
    def groups(self) -> list[tuple[str, int]]:
        """(words, number of columns) of each run of neighbours that belong together."""
        runs: list[tuple[str, int]] = []
        for column in self.columns:
            if runs and runs[-1][0] == column.group:
                runs[-1] = (column.group, runs[-1][1] + 1)
            else:
                runs.append((column.group, 1))
        return runs

    @property
    def measured(self) -> int:
        """How many rows were measured."""
        return sum(not row.published for row in self.rows)


@dataclass(frozen=True)
class Picture:
    """One image as a `data:` URI, or, where it is left out, none."""

    alt: str
    caption: str
    uri: str | None


@dataclass(frozen=True)
class Panel:
    """A table of pictures."""

    kind: Literal["segmentation", "neighbours", "pca"]
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Picture | None, ...]], ...]


@dataclass(frozen=True)
class Report:
    """All that one page shows."""

    title: str
    newest: str  # when the newest record was made
    counts: tuple[tuple[str, str], ...]
    results: tuple[ShownTable, ...]
    diagnostics: tuple[ShownTable, ...]
    costs: tuple[ShownTable, ...]
    evidence: tuple[Evidence, ...]
    settings: dict[str, tuple[tuple[str, tuple[tuple[str, str], ...]], ...]]  # key -> (side, its settings)
    figures: tuple[Figure, ...] = ()
    panels: tuple[Panel, ...] = ()
    left_out: tuple[str, ...] = ()
    filters: dict[str, tuple[str, ...]] = field(default_factory=dict)
