"""What must stand below a table whose cells are short: the number of runs, what bold means, and what to doubt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from bench.results.cells import counts_of
from bench.results.headers import headers_of
from bench.results.interventions import INTERVENED
from bench.results.other_code import MARK
from bench.results.sections import Cell, Row, Section
from bench.results.statistics import THESE_WEIGHTS

BOLD = (
    "the highest mean of a column{group} and all rows that Welch's t-test (two-sided, p < 0.05 after Holm's "
    "correction) does not tell from it; a single value is not judged"
)
PUBLISHED, OLDER = "†", "‡"
# mark -> what it means, in a few words
MEANINGS = {
    PUBLISHED: "published, not measured here",
    OLDER: "pretrained by an older definition of the objective",
    MARK: "made by other code than that of now",
    INTERVENED: "the pretraining changed its course by itself",
    THESE_WEIGHTS: "bold rests on a single trunk",
}


def row_marks(row: Row) -> list[str]:
    """Return the marks that stand behind a row's name."""
    return [mark for mark, is_there in ((PUBLISHED, row.published), (OLDER, row.older)) if is_there]


def measured(section: Section) -> list[tuple[Row, int, Cell]]:
    """Return (row, place of the column, cell) of all cells that were measured here."""
    return [
        (row, place, cell)
        for row in section.rows
        for place, cell in enumerate(row.cells)
        if cell is not None and not cell.published
    ]


def count_of_all(section: Section, columns: Collection[int] | None = None) -> str | None:
    """Return the number of runs of a cell where it is the same for all of a section, or of some columns; else None."""
    counts = {counts_of(cell) for _, place, cell in measured(section) if columns is None or place in columns}
    return counts.pop() if len(counts) == 1 else None


def marks_of(section: Section) -> list[str]:
    """Return the marks that a section's rows and cells have."""
    cells = [cell for _, _, cell in measured(section)]
    of_rows = {mark for row in section.rows for mark in row_marks(row)}
    there = {
        **{mark: mark in of_rows for mark in (PUBLISHED, OLDER)},
        MARK: any(cell.other_code for cell in cells),
        INTERVENED: any(cell.interventions for cell in cells),
        THESE_WEIGHTS: any(cell.best and cell.best_about == "weights" for cell in cells),
    }
    return [mark for mark, is_there in there.items() if is_there]


def short_notes(section: Section) -> list[str]:
    """Return the sentences below a table whose cells have mean and spread alone; all doubts name their rows."""
    notes, cells = [], measured(section)
    if cells:
        notes.append(_counts(section))
    if any(cell.best for _, _, cell in cells):
        mixed = any(column.mixed for column in section.columns)
        notes.append(f"Bold: {BOLD.format(group=', among rows that differ in their method alone,' if mixed else '')}.")
    doubts: dict[str, Callable[[Cell], bool]] = {
        THESE_WEIGHTS: lambda cell: cell.best and cell.best_about == "weights",
        MARK: lambda cell: bool(cell.other_code),
        INTERVENED: lambda cell: bool(cell.interventions),
    }
    for mark, has in doubts.items():
        if said := _where(section, [(row, place) for row, place, cell in cells if has(cell)]):
            notes.append(f"{MEANINGS[mark][0].upper()}{MEANINGS[mark][1:]}: {said}.")
    notes += [f"{mark} {MEANINGS[mark]}." for mark in marks_of(section) if mark in (PUBLISHED, OLDER)]
    for column, header in zip(section.columns, headers_of(section.columns), strict=True):
        if column.remark:
            notes.append(f"{header.group} {header.name}: {column.remark}.")
    return notes


def _counts(section: Section) -> str:
    """How many runs a cell has, the commonest number first, and what its spread is of."""
    cells = measured(section)
    places: dict[str, list[tuple[Row, int]]] = {}
    for row, place, cell in cells:
        places.setdefault(counts_of(cell), []).append((row, place))
    commonest, *others = sorted(places, key=lambda count: -len(places[count]))
    unit = " (trunks × task seeds)" if any("×" in count for count in places) else ""
    said = [f"n = {commonest}{unit}", *(f"{count} for {_where(section, places[count])}" for count in others)]
    notes = [f"Trunks a cell: {'; '.join(said)}."]
    if any(cell.summary.between is not None for _, _, cell in cells):
        notes.append("±: sample standard deviation over pretrained trunks.")
    alone = [(row, i) for row, i, cell in cells if cell.summary.between is None and cell.summary.within is not None]
    if alone:
        some = "" if len(alone) == len(cells) else f" of {_where(section, alone)}"
        notes.append(f"±{some}: that over seeds of the task on a single trunk.")
    return " ".join(notes)


def _where(section: Section, places: Sequence[tuple[Row, int]]) -> str:
    """Rows with the columns meant: "coco (mIoU, mAcc), byol" where of byol all are."""
    headers = headers_of(section.columns)
    names = [header.name for header in headers]
    rows: dict[int, tuple[Row, list[int]]] = {}
    for row, place in places:
        rows.setdefault(id(row), (row, []))[1].append(place)
    parts = []
    for row, columns in rows.values():
        having = [i for i, cell in enumerate(row.cells) if cell is not None and not cell.published]
        label = _label(section, row)
        shown = [names[i] if names.count(names[i]) == 1 else f"{headers[i].group} {names[i]}" for i in columns]
        parts.append(label if columns == having else f"{label} ({', '.join(shown)})")
    return ", ".join(parts)


def _label(section: Section, row: Row) -> str:
    """The texts that tell a row from others: in a table of several data sets more than its name."""
    alike = [one for one in section.rows if one.leading[section.named] == row.leading[section.named]]
    if len(alike) == 1:
        return row.leading[section.named]
    apart = [i for i in range(len(row.leading)) if len({one.leading[i] for one in alike}) > 1 or i == section.named]
    return " ".join(row.leading[i] for i in apart)
