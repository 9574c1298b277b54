"""Records and published rows -> the rows of one section of a table, as its study file says.

A row is one pretraining by name and fingerprint of its recipe; seeds of a row share a cell, in which the values of one
trunk, by several seeds of the task, stand together. In a table with data sets a row is one pretraining on one data set,
and rows that differ in their method alone form a group: within it, differences are to the baseline's method, of
measured rows to a measured one, of published rows to a published one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.config.studies import TRANSFER_FIELDS, RowField, Table
from bench.record import Record
from bench.results.columns import Place, columns_of
from bench.results.definitions import older_definition
from bench.results.differences import base_of, best_marked, compared, corrected, to_baseline
from bench.results.frame import AND, RECIPE, WAY, long_frame
from bench.results.interventions import intervention_words
from bench.results.other_code import other_code_words
from bench.results.published import PublishedRow
from bench.results.sections import EMPTY, Cell, Column, Line, Row, Section
from bench.results.statistics import summarise
from bench.results.trunks import Trunks, by_trunk

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Rows:
    """The columns and rows of one section; `base` is the row that all differences are to, if there is one such row."""

    table: Table
    fields: tuple[RowField, ...]
    columns: list[Column]
    measured: list[Line]
    published: list[Line]
    base: Row | None

    def section(
        self, title: str, key: str, rows: Sequence[Row], notes: tuple[str, ...], profile: str = "full"
    ) -> Section:
        """Return a section with these columns."""
        leading = tuple(field.replace("_", " ").capitalize() for field in self.fields)
        named = self.fields.index("method" if self.table.datasets else "pretrain")
        return Section(title, key, leading, tuple(self.columns), tuple(rows), notes, named, profile)

    def in_order(self) -> list[Row]:
        """Published rows below measured ones; in a table with data sets each above what was measured of it."""
        lines = [*self.measured, *self.published]
        return [line.row for line in (sorted(lines, key=self.order) if self.table.datasets else lines)]

    def order(self, line: Line) -> tuple[object, ...]:
        """By data set, then method, as the study file has them."""
        datasets = self.table.datasets
        methods = list(dict.fromkeys(method.name for method in self.table.methods))
        methods = methods or list(dict.fromkeys(line.fields["method"] for line in self.published))
        dataset, method = line.fields["dataset"], line.fields["method"]
        place = next((i for i, name in enumerate(methods) if method.startswith(name)), len(methods))
        known = datasets.index(dataset) if dataset in datasets else len(datasets)
        return known, place, not line.row.published, line.row.leading


def build_rows(
    table: Table,
    records: Sequence[Record],
    published: Sequence[PublishedRow],
    baseline: str | None = None,
    trunks: Trunks | None = None,
) -> Rows:
    """Return the rows of `records` (each trunk and task seed of a cell once) and of a published table.

    `baseline` is the name or label of the row that differences are to, in a table without data sets; by default that
    of random weights. `trunks` are those of all records that there are, by default of these. Raises BadInput when the
    baseline is ambiguous.
    """
    logged = [column.metric for column in table.columns if not column.task]
    frame = long_frame(records, logged, trunks)
    keys = {key for row in published for key in row.values}
    columns, places = columns_of(frame, table, keys if published else None)
    fields: tuple[RowField, ...] = tuple(row.field for row in table.rows) if table.datasets else TRANSFER_FIELDS
    if table.datasets and any(_subset(record) for record in records):
        fields = (*fields, "subset")
    measured = _measured(table, fields, records, _cells(frame, places, table), len(columns))
    printed = [_published(row, fields, columns, table) for row in published]
    if table.datasets:
        measured, printed = to_baseline(measured, columns, table), to_baseline(printed, columns, table)
        return Rows(table, fields, columns, best_marked(corrected(measured), columns), printed, None)
    measured.sort(key=lambda line: (line.row.leading[0] != "none", line.row.leading))
    base = base_of([line.row for line in measured], baseline)
    if base is not None:
        measured = corrected([replace(line, row=compared(line.row, base, columns)) for line in measured])
    return Rows(table, fields, columns, best_marked(measured, columns), printed, base)


def _cells(frame: pd.DataFrame, places: dict[Place, int], table: Table) -> dict[tuple[Any, ...], Cell]:
    """{(data set, pretraining, recipe, place of the column): cell}; the data set is "" where the table has none."""
    frame = frame.assign(
        column=[places.get(key, -1) for key in zip(*(frame[k] for k in [*WAY, "metric"]), strict=True)]
    )
    if not table.datasets:
        frame["dataset"] = ""
    groups = frame[frame["column"] >= 0].groupby(["dataset", *RECIPE, "column"], sort=False)
    lists = groups.agg(
        values=("value", list),
        trunks=("trunk", list),
        protocol=("protocol", "first"),
        precisions=("precision", list),
        other=("other_code", list),
        acts=("interventions", list),
        stages=("stage", list),
    )
    return {
        key: Cell(
            by_trunk(trunks, values),
            summarise(by_trunk(trunks, values)),
            protocol=protocol,
            precision=_all_of(precisions),
            other_code=other_code_words(other),
            interventions=intervention_words(acts),
            stages=tuple(stages),
        )
        for key, values, trunks, protocol, precisions, other, acts, stages in lists.itertuples()
    }


def _all_of(precisions: Sequence[str | None]) -> str:
    return AND.join(sorted({each for one in precisions if isinstance(one, str) for each in one.split(AND)}))


def _measured(
    table: Table,
    fields: Sequence[RowField],
    records: Sequence[Record],
    cells: dict[tuple[Any, ...], Cell],
    columns: int,
) -> list[Line]:
    """One line per pretraining and recipe (and data set), before differences."""
    first: dict[tuple[str, str, str], Record] = {}  # of each row, that of the lowest seeds
    for record in records:
        key = record.dataset if table.datasets else "", record.pretrain, record.fingerprints.recipe
        first[key] = min(first.get(key, record), record, key=lambda one: (one.seed, one.own_seed))
    texts = {key: _texts(record, table) for key, record in first.items()}
    names = {key: tuple(text[f] for f in fields) if table.datasets else key[1:2] for key, text in texts.items()}
    same = Counter(names.values())
    lines = []
    for key, record in first.items():
        label = texts[key]["method" if table.datasets else "pretrain"]
        label += f" @{key[2][:8]}" if same[names[key]] > 1 else ""
        shown = texts[key] | {"method": label, "pretrain": label}
        leading = tuple(shown[field] for field in fields)
        row = Row(
            leading,
            tuple(cells.get((*key, i)) for i in range(columns)),
            name=record.pretrain,
            label=label,
            older=older_definition(record),
            arch=record.arch,
        )
        lines.append(Line(row, {field: texts[key][field] for field in fields}, record))
    return lines


def _texts(record: Record, table: Table) -> dict[RowField, str]:
    """What a row's leading texts may be, of one of its records."""
    settings = record.settings.get("pretrain", {})
    trained = record.pretrain_set != "none" and settings.get("epochs") != 0
    size = settings.get("view_size") if trained else record.settings.get("downstream", {}).get("size")
    stem = settings.get("stem", "imagenet") if table.datasets else "imagenet"
    elsewhere = record.pretrain_set != record.dataset or settings.get("init")  # of other data, or continues another
    measured = settings.get("norm_statistics", "start") != "start"  # another control than the one of that name
    method = (not elsewhere and not measured and table.method(settings.get("objective", {}))) or record.pretrain
    return {
        "dataset": record.dataset,
        "pretrain_set": record.pretrain_set,
        "pretrain": record.pretrain,
        "method": method,
        "image_size": EMPTY if size is None else str(size),
        "epochs": str(settings.get("epochs", EMPTY)),
        "backbone": record.arch if stem == "imagenet" else f"{record.arch} ({stem} stem)",
        "batch_size": str(settings.get("batch_size", EMPTY)) if trained else EMPTY,
        "subset": str(_subset(record) or "all"),
    }


def _subset(record: Record) -> int | None:
    """How many images it was trained on, where that is not all: of a row that only measured norms on some, None."""
    settings = record.settings.get("pretrain", {})
    return settings.get("subset") if settings.get("epochs") != 0 else None


def _published(row: PublishedRow, fields: Sequence[RowField], columns: Sequence[Column], table: Table) -> Line:
    values = [row.values.get((column.task, column.metric)) if column.published else None for column in columns]
    cells = tuple(None if v is None else Cell(((v,),), summarise([[v]]), published=True) for v in values)
    texts: dict[RowField, str] = {field: row.texts.get(field, EMPTY) for field in fields}
    name = texts["method" if table.datasets else "pretrain"]
    label = name if table.datasets else ""
    arch = texts.get("backbone", EMPTY).partition(" (")[0]
    arch = "" if arch == EMPTY else arch
    return Line(Row(tuple(texts.values()), cells, published=True, name=name, label=label, arch=arch), texts)
