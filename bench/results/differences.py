"""Differences to a baseline row, and what is best of a column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from bench.config.studies import Table
from bench.errors import BadInput
from bench.results.sections import Column, Line, Row
from bench.results.statistics import compare

CONTROL = "random_init"  # the default baseline of a table without data sets

T = TypeVar("T")


def base_of(rows: Sequence[Row], baseline: str | None) -> Row | None:
    """The row that differences are to, if there is one."""
    fitting = [row for row in rows if (baseline or CONTROL) in {row.name, row.label}]
    if len(fitting) > 1 and baseline is not None:
        raise BadInput(f"Baseline {baseline!r} is ambiguous; say one of {', '.join(row.label for row in fitting)}.")
    return fitting[0] if len(fitting) == 1 else None


def to_baseline(lines: Sequence[Line], columns: Sequence[Column], table: Table) -> list[Line]:
    """Lines with differences to the one row of the baseline's method that each has in its group, if it has one."""
    groups = _grouped(lines, lambda line: (*line.alike, line.fields["method"]))
    result = []
    for line in lines:
        bases = groups.get((*line.alike, table.baseline), [])
        if len(bases) > 1:  # by all that the objective is not
            bases = [base for base in bases if base.others == line.others]
        if len(bases) > 1:  # of the definitions of its objective today's
            bases = [base for base in bases if not base.row.older]
        result.append(replace(line, row=compared(line.row, bases[0].row, columns)) if len(bases) == 1 else line)
    return result


def compared(row: Row, base: Row, columns: Sequence[Column]) -> Row:
    """A row with its differences to the baseline row."""
    if row is base:
        return row
    below_of = {
        (column.task, column.metric, column.protocol, column.data): below
        for column, below in zip(columns, base.cells, strict=True)
    }
    cells = list(row.cells)
    for i, (column, cell) in enumerate(zip(columns, row.cells, strict=True)):
        below = below_of.get((*column.against, column.protocol, column.data)) if column.against else base.cells[i]
        if column.compared and cell is not None and below is not None:
            verdict = None if cell.published else compare(cell.values, below.values)
            cells[i] = replace(cell, difference=cell.summary.mean - below.summary.mean, verdict=verdict)
    return replace(row, cells=tuple(cells))


def groups_of(lines: Sequence[Line]) -> list[list[Line]]:
    """Return the lines that differ in their method alone, in their order; in a table without methods all of them."""
    return list(_grouped(lines, _group).values())


def best_marked(lines: Sequence[Line], columns: Sequence[Column]) -> list[Line]:
    """Mark the highest mean of each column in percent among the rows of a group (as displayed: visible ties are ties).

    A control that trains nothing competes with every group of its data set, image size and backbone: the best of
    methods that are all worse than random weights is not good.
    """
    marked = [list(line.row.cells) for line in lines]
    controls = _grouped(
        (n for n, line in enumerate(lines) if line.fields.get("epochs") == "0"), lambda n: _input(lines[n])
    )
    for group in _grouped(range(len(lines)), lambda n: _group(lines[n])).values():
        competing = dict.fromkeys([*group, *controls.get(_input(lines[group[0]]), [])])
        for i in (i for i, column in enumerate(columns) if column.metric.endswith("_percent")):
            cells = {n: cell for n in competing if (cell := lines[n].row.cells[i]) is not None}
            shown = {n: round(cell.summary.mean, 2) for n, cell in cells.items()}
            for n, cell in cells.items():
                if len(cells) > 1 and shown[n] == max(shown.values()):
                    marked[n][i] = replace(cell, best=True)
    return [replace(line, row=replace(line.row, cells=tuple(cells))) for line, cells in zip(lines, marked, strict=True)]


def _grouped(items: Iterable[T], key: Callable[[T], tuple[str, ...]]) -> dict[tuple[str, ...], list[T]]:
    groups: dict[tuple[str, ...], list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _group(line: Line) -> tuple[str, ...]:
    return line.alike if "method" in line.fields else ()


def _input(line: Line) -> tuple[str, ...]:
    return tuple(line.fields.get(field, "") for field in ("dataset", "image_size", "backbone"))
