"""Which rows and columns of the tables are shown, by the words of a command line.

Verdicts and their correction stay those of the whole table: choosing rows makes no difference significant. What is bold
and the notes are about the rows that are shown, by the rule of the whole table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from bench.errors import BadInput, nearest, nearest_or_all
from bench.results.columns import PREFIX
from bench.results.differences import best_marked
from bench.results.headers import headers_of
from bench.results.parts import Part
from bench.results.rows import Rows
from bench.results.sections import Column, Line, Row, Section


@dataclass(frozen=True)
class Selection:
    """Names or patterns (`*`, `?`, `[…]`); () is all. Rows and columns without a value are shown only with `empty`."""

    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    empty: bool = False

    @property
    def is_all(self) -> bool:
        """Whether nothing is named."""
        return not (self.rows or self.columns or self.archs or self.profiles)


EVERYTHING = Selection()


def selected_parts(parts: Sequence[Part], selection: Selection) -> list[Part]:
    """Return the parts with what is chosen of them, in its order.

    Raises BadInput for a word that nothing has, with the nearest names, and where nothing is left.
    """
    check(selection, [(part.profile, part.rows.columns, [line.row for line in _lines(part.rows)]) for part in parts])
    chosen = []
    for part in parts:
        rows = _selected(part.rows, selection) if part.profile in (selection.profiles or (part.profile,)) else None
        if rows is None:
            continue
        of_rows = {(line.record.pretrain, line.record.fingerprints.recipe) for line in rows.measured if line.record}
        records = [one for one in part.records if (one.pretrain, one.fingerprints.recipe) in of_rows]
        chosen.append(replace(part, rows=rows, records=records, repeats=0 if selection.rows else part.repeats))
    if not chosen and not selection.is_all:
        raise BadInput(_nothing_left(selection))
    return chosen or list(parts)


def in_given_order(sections: Sequence[Section], selection: Selection) -> list[Section]:
    """Return sections of chosen parts with their rows in the order of the words that chose them."""
    if not selection.rows:
        return list(sections)
    ordered = []
    for section in sections:
        places = _chosen(selection.rows, [row_names(row, section.named) for row in section.rows])
        ordered.append(replace(section, rows=tuple(section.rows[place] for place in places)))
    return ordered


def selected_sections(sections: Sequence[Section], selection: Selection) -> list[Section]:
    """Return what is chosen of sections in which nothing is compared: time and memory. Raises as `selected_parts`."""
    check(selection, [(section.profile, section.columns, section.rows) for section in sections])
    chosen = []
    for section in sections:
        if section.profile not in (selection.profiles or (section.profile,)):
            continue
        lines, columns = _places(section.rows, section.columns, section.named, selection)
        if lines and columns:
            rows = tuple(_with_columns(section.rows[place], columns) for place in lines)
            chosen.append(replace(section, rows=rows, columns=tuple(section.columns[i] for i in columns)))
    if not chosen and not selection.is_all:
        raise BadInput(_nothing_left(selection))
    return in_given_order(chosen or sections, selection)


def row_names(row: Row, named: int) -> set[str]:
    """The names that mean a row: its pretraining's, with the recipe's hash where several share it, or its method's."""
    return {row.name, row.label, row.leading[named]} - {""}


def column_names(columns: Sequence[Column]) -> list[set[str]]:
    """For each column the names that mean it: its header, with or without a protocol, its metric, its task, or both."""
    names = []
    for column, header in zip(columns, headers_of(columns), strict=True):
        task, metric = column.task.removeprefix(PREFIX), column.metric
        metrics = {metric, metric.removesuffix("_percent"), header.name}
        both = {f"{task} {each}" for each in metrics if task}
        names.append({column.header, column.title, column.task, task, header.group, *metrics, *both} - {""})
    return names


def check(selection: Selection, tables: Sequence[tuple[str, Sequence[Column], Sequence[Row]]]) -> None:
    """Raise BadInput for a word that no table has; `tables` are (profile, columns, rows)."""
    profiles = list(dict.fromkeys(profile for profile, *_ in tables))
    for profile in selection.profiles:
        if profile not in profiles:
            raise BadInput(
                f"Nothing was measured in profile {profile}; there is {' and '.join(profiles) or 'nothing'}."
            )
    shown = [table for table in tables if table[0] in (selection.profiles or profiles)]
    where = f" in profile {' or '.join(selection.profiles)}" if selection.profiles else ""
    archs = list(dict.fromkeys(row.arch for _, _, rows in shown for row in rows if row.arch))
    for word in selection.archs:
        if not _chosen([word], [{arch} for arch in archs]):
            raise BadInput(f"There is no row of architecture {word!r}{where}{nearest_or_all(word, archs)}")
    kept = [(columns, [row for row in rows if _has_arch(row, selection)]) for _, columns, rows in shown]
    if selection.archs:
        where = f" of {' or '.join(selection.archs)}{where}"
    known_rows = [_names(row) for _, rows in kept for row in rows]
    known_columns = [names for columns, _ in kept for names in column_names(columns)]
    for word in selection.rows:
        if not _chosen([word], known_rows):
            elsewhere = [(profile, row.arch) for profile, _, rows in tables for row in rows if word in _names(row)]
            raise BadInput(f"There is no row {word!r}{where}{_where(elsewhere) or _remedy(word, known_rows)}")
    for word in selection.columns:
        if not _chosen([word], known_columns):
            raise BadInput(f"There is no column {word!r}{where}{_remedy(word, known_columns)}")


def _names(row: Row) -> set[str]:
    return {row.name, row.label} - {""}


def _where(places: Sequence[tuple[str, str]]) -> str:
    """Where a row is that is not where it was looked for: (profile, architecture)."""
    words = dict.fromkeys(f"profile {profile}" + (f" of {arch}" if arch else "") for profile, arch in places)
    return f"; there is one in {' and '.join(words)}." if words else ""


def _remedy(word: str, known: Sequence[set[str]]) -> str:
    return nearest(word, sorted(set().union(*known))) or "; bench table shows all, and * stands for any characters."


def _selected(rows: Rows, selection: Selection) -> Rows | None:
    """The chosen rows and columns; None where nothing is left."""
    lines = _lines(rows)
    named = rows.fields.index("method" if rows.table.datasets else "pretrain")
    chosen, columns = _places([line.row for line in lines], rows.columns, named, selection)
    if not chosen or not columns:
        return None
    shown = [rows.columns[place] for place in columns]
    cut = {place: replace(lines[place], row=_with_columns(lines[place].row, columns)) for place in chosen}
    measured = [_not_bold(cut[place]) for place in sorted(cut) if place < len(rows.measured)]
    published = [cut[place] for place in sorted(cut) if place >= len(rows.measured)]
    return replace(rows, columns=shown, measured=best_marked(measured, shown), published=published)


def _lines(rows: Rows) -> list[Line]:
    return [*rows.measured, *rows.published]


def _places(
    rows: Sequence[Row], columns: Sequence[Column], named: int, selection: Selection
) -> tuple[list[int], list[int]]:
    """The places of the chosen rows and columns, those without a value left out unless asked for."""
    lines = _chosen(selection.rows, [row_names(row, named) for row in rows])
    lines = [place for place in lines if _has_arch(rows[place], selection)]
    kept = _chosen(selection.columns, column_names(columns))
    if not selection.empty:
        kept = [i for i in kept if any(rows[place].cells[i] is not None for place in lines)]
        lines = [place for place in lines if any(rows[place].cells[i] is not None for i in kept)]
    return lines, kept


def _chosen(words: Sequence[str], names: Sequence[Iterable[str]]) -> list[int]:
    """The places of those that a word means, in the order of words. A word that is a name is no pattern."""
    if not words:
        return list(range(len(names)))
    known = set().union(*map(set, names))
    places: dict[int, None] = {}
    for word in words:
        for place, of_one in enumerate(names):
            if word in of_one or (word not in known and any(fnmatchcase(name, word) for name in of_one)):
                places[place] = None
    return list(places)


def _has_arch(row: Row, selection: Selection) -> bool:
    return bool(not selection.archs or (row.arch and _chosen(selection.archs, [{row.arch}])))


def _with_columns(row: Row, columns: Sequence[int]) -> Row:
    return replace(row, cells=tuple(row.cells[i] for i in columns))


def _not_bold(line: Line) -> Line:
    cells = tuple(None if cell is None else replace(cell, best=False, best_about="methods") for cell in line.row.cells)
    return replace(line, row=replace(line.row, cells=cells))


def _nothing_left(selection: Selection) -> str:
    named = {
        "--rows": selection.rows, "--columns": selection.columns, "--arch": selection.archs,
        "--profile": selection.profiles,
    }  # fmt: skip
    given = [option for option, words in named.items() if words]
    if len(given) == 1:
        return f"What {given[0]} names has no value in any table; name something else."
    return f"No table has a value that fits {', '.join(given)} together; leave one out."
