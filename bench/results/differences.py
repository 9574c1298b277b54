"""Differences to a baseline row, verdicts on them, and which rows of a column cannot be told from its best.

Both kinds of statement are about many rows at once, and are corrected by Holm's step-down (bench/results/holm.py)
within a column and a group: the verdicts over all rows that are compared with a baseline, and what is bold over all
rows that are compared with the highest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from bench.config.studies import Table
from bench.errors import BadInput
from bench.results.holm import holm
from bench.results.sections import Base, Cell, Column, Line, Row
from bench.results.statistics import LEVEL, About, compare, error_of_mean, held_to

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
            difference = cell.summary.mean - below.summary.mean
            to = Base(base.label or base.name, below.values, below.stages)
            cells[i] = replace(cell, difference=difference, verdict=verdict, base=to)
    return replace(row, cells=tuple(cells))


def corrected(lines: Sequence[Line]) -> list[Line]:
    """Return lines whose verdicts hold for all rows of a group at once, in each column; differences stay."""
    cells = [list(line.row.cells) for line in lines]
    for group in _grouped(range(len(lines)), lambda n: _group(lines[n])).values():
        for i in range(len(cells[group[0]])):
            judged = [
                (n, cell, cell.verdict) for n in group if (cell := cells[n][i]) is not None and cell.verdict is not None
            ]
            adjusted = holm([verdict.p for _, _, verdict in judged])
            for (n, cell, verdict), p in zip(judged, adjusted, strict=True):
                cells[n][i] = replace(cell, verdict=held_to(verdict, p))
    return _with_cells(lines, cells)


def groups_of(lines: Sequence[Line]) -> list[list[Line]]:
    """Return the lines that differ in their method alone, in their order; in a table without methods all of them."""
    return list(_grouped(lines, _group).values())


def best_marked(lines: Sequence[Line], columns: Sequence[Column]) -> list[Line]:
    """Mark, in each column in percent, the rows of a group that no test tells from the one with the highest mean.

    Rows with a single value do not compete: nothing is known of their noise, so that neither can they be told from the
    best nor is their being highest anything. Means that are displayed alike are ties. Another row that cannot be judged
    against the highest, as neither has any spread, is not marked, and where none can be judged nothing is.

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
            for n, about in _like_the_best(cells, columns[i].decimals).items():
                marked[n][i] = replace(cells[n], best=True, best_about=about)
    return _with_cells(lines, marked)


def _like_the_best(cells: dict[int, Cell], decimals: int) -> dict[int, About]:
    """{key: what that is about} of the cells that cannot be told from the one with the highest mean, and of itself."""
    competing = {n: cell for n, cell in cells.items() if not cell.published and error_of_mean(cell.values) is not None}
    if len(competing) < 2:
        return {}
    top = max(competing, key=lambda n: competing[n].summary.mean)
    verdicts = {n: compare(cell.values, competing[top].values) for n, cell in competing.items() if n != top}
    if all(verdict.p is None for verdict in verdicts.values()):
        return {}
    adjusted = dict(zip(verdicts, holm([verdict.p for verdict in verdicts.values()]), strict=True))
    shown = f"{competing[top].summary.mean:.{decimals}f}"
    return {
        n: "weights" if min(cell.summary.n, competing[top].summary.n) == 1 else "methods"
        for n, cell in competing.items()
        if n == top or f"{cell.summary.mean:.{decimals}f}" == shown or ((p := adjusted[n]) is not None and p >= LEVEL)
    }


def _with_cells(lines: Sequence[Line], cells: Sequence[Sequence[Cell | None]]) -> list[Line]:
    return [replace(line, row=replace(line.row, cells=tuple(row))) for line, row in zip(lines, cells, strict=True)]


def _grouped(items: Iterable[T], key: Callable[[T], tuple[str, ...]]) -> dict[tuple[str, ...], list[T]]:
    groups: dict[tuple[str, ...], list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _group(line: Line) -> tuple[str, ...]:
    return line.alike if "method" in line.fields else ()


def _input(line: Line) -> tuple[str, ...]:
    return tuple(line.fields.get(field, "") for field in ("dataset", "image_size", "backbone"))
