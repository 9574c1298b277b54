"""Measured less published: one section for any published table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.config.studies import RowField, Table
from bench.results.definitions import definition_notes
from bench.results.interventions import intervention_notes
from bench.results.other_code import other_code_notes
from bench.results.published import PublishedRow
from bench.results.rows import Rows
from bench.results.sections import Cell, Section
from bench.results.statistics import summarise


def build_gap(rows: Rows, name: str, table: Table, published: Sequence[PublishedRow]) -> Section | None:
    """Return each measured row less the published one of its name (and data set); None if there is no such pair.

    `table` is the published one, called `name`, whose columns may be some of the section's. Of several published rows
    that match, the one with most leading texts in common is subtracted.
    """
    if not table.gap:
        return None
    matched: tuple[RowField, ...] = ("dataset", "method") if rows.table.datasets else ("pretrain",)
    candidates: dict[tuple[str, ...], list[PublishedRow]] = {}
    for row in published:
        candidates.setdefault(tuple(row.texts[field] for field in matched), []).append(row)
    less, lines = [], []
    for line in sorted(rows.measured, key=rows.order) if rows.table.datasets else rows.measured:
        others = candidates.get(tuple(line.fields[field] for field in matched), [])
        if not others:
            continue
        nearest = max(reversed(others), key=lambda row: sum(row.texts.get(f) == t for f, t in line.fields.items()))
        values = [nearest.values.get((column.task, column.metric)) for column in rows.columns]
        cells = tuple(_less(cell, value) for cell, value in zip(line.row.cells, values, strict=True))
        leading = []
        for field, text in zip(rows.fields, line.row.leading, strict=True):
            other = nearest.texts.get(field, text)
            same = field in matched or text.partition(" (")[0] == other
            leading.append(text if same else f"{text} less {other}")
        if any(cell is not None for cell in cells):
            less.append(replace(line.row, leading=tuple(leading), cells=cells))
            lines.append(line)
    title = f"{table.title or name}: measured less published"
    marks = (*other_code_notes(lines, rows.columns), *intervention_notes(lines, rows.columns))
    notes = (*definition_notes(lines), *marks, *table.gap_notes)
    return rows.section(title, f"{name}_gap", less, notes) if less else None


def _less(cell: Cell | None, value: float | None) -> Cell | None:
    if cell is None or value is None:
        return None
    values = tuple(tuple(one - value for one in trunk) for trunk in cell.values)
    return Cell(
        values,
        summarise(values),
        protocol=cell.protocol,
        precision=cell.precision,
        other_code=cell.other_code,
        interventions=cell.interventions,
        signed=True,
        stages=cell.stages,
    )
