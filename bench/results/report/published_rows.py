"""Which published rows a page shows, and in what each differs from what was measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.results.sections import EMPTY, Cell, Row, Section


def beside_measured(section: Section, arch: str) -> Section | None:
    """Return a section of one architecture with the published values that have a measured one beside them.

    That is one of the same task and metric, on the same data set, by the same architecture. Columns without a value go.
    None where nothing was measured.
    """
    measured = {
        (column.task, column.metric, _text(row, section, "Dataset"))
        for row in section.rows
        if not row.published
        for column, cell in zip(section.columns, row.cells, strict=True)
        if cell is not None
    }
    rows = []
    for row in section.rows:
        if row.published:
            if _text(row, section, "Backbone").partition(" (")[0] not in {arch, EMPTY, ""}:
                continue
            cells: tuple[Cell | None, ...] = tuple(
                cell if (column.task, column.metric, _text(row, section, "Dataset")) in measured else None
                for column, cell in zip(section.columns, row.cells, strict=True)
            )
            row = replace(row, cells=cells)
        if any(cell is not None for cell in row.cells):
            rows.append(row)
    if all(row.published for row in rows):
        return None
    kept = [i for i in range(len(section.columns)) if any(row.cells[i] is not None for row in rows)]
    return replace(
        section,
        columns=tuple(section.columns[i] for i in kept),
        rows=tuple(replace(row, cells=tuple(row.cells[i] for i in kept)) for row in rows),
    )


def differs(row: Row, measured: Sequence[Row], section: Section) -> str:
    """Return in what a published row differs from the measured row that is most like it, in words.

    Most like it is one of the same data set and name, if there is one; else what is said names the row that it is of.
    Of its protocol a published table says too little to be held against a hash, so that this is said of each.
    """
    places = [place for place in range(len(section.leading)) if place != section.named]
    beside = [other for other in measured if _text(other, section, "Dataset") == _text(row, section, "Dataset")]
    if not beside:
        return ""

    def apart(other: Row) -> list[int]:
        return [p for p in places if row.leading[p] != other.leading[p]]

    def named(other: Row) -> bool:
        return row.leading[section.named] in {other.leading[section.named], other.name}

    nearest = min(beside, key=lambda other: (not named(other), len(apart(other))))
    words = [f"{section.leading[p].lower()} {row.leading[p]}, here {nearest.leading[p]}" for p in apart(nearest)]
    of = "" if named(nearest) else f"no row of this name was measured; beside {nearest.leading[section.named]}: "
    return of + "; ".join([*words, "its protocol is not known to be this one"])


def _text(row: Row, section: Section, leading: str) -> str:
    return row.leading[section.leading.index(leading)] if leading in section.leading else ""
