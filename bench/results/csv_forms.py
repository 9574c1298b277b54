"""Sections as CSV for programs: all that tables say, or only numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.results.columns import PREFIX
from bench.results.escapes import guarded
from bench.results.headers import LOGGED
from bench.results.interventions import intervention_words
from bench.results.sections import Column, Row, Section


def full_csv(sections: Sequence[Section]) -> str:
    """Return one line a row with all that tables say of it, the union of all columns; values have six decimals."""
    import pandas as pd

    lines: list[dict[str, str]] = []
    for section in sections:
        for row in section.rows:
            line = {"section": section.key, "published": "yes" if row.published else "no"}
            line["older definition"] = guarded(row.older)
            acts = [cell.interventions.split("; ") for cell in row.cells if cell is not None and cell.interventions]
            line["interventions"] = guarded(intervention_words(acts))
            lines.append(line | _leading(section, row) | _csv_cells(section, row))
    fields = dict.fromkeys(
        ["section", "published", "older definition", "interventions", *(name for line in lines for name in line)]
    )
    return pd.DataFrame(lines, columns=list(fields)).to_csv(index=False, lineterminator="\n")


def _csv_cells(section: Section, row: Row) -> dict[str, str]:
    values: dict[str, str] = {}
    for column, cell in zip(section.columns, row.cells, strict=True):
        name = guarded(column.header)
        measured = cell if cell is not None and not cell.published else None
        values[name] = _plain(cell.summary.mean if cell else None)
        if not (column.amount or column.protocol or column.mixed):
            continue  # nothing measured here, hence no spread to tell of
        summary = measured.summary if measured else None
        if column.amount:
            values[f"{name} std"] = _plain(summary.between if summary else None)
            values[f"{name} n"] = str(summary.n) if summary else ""
        else:
            values[f"{name} between"] = _plain(summary.between if summary else None)
            values[f"{name} within"] = _plain(summary.within if summary else None)
            values[f"{name} n"] = str(summary.n) if summary else ""
            values[f"{name} values"] = str(summary.count) if summary else ""
            values[f"{name} difference"] = _plain(cell.difference if cell else None)
            verdict = measured.verdict if measured else None
            values[f"{name} verdict"] = verdict.word if verdict else ""
            values[f"{name} p"] = "" if verdict is None or verdict.p is None else f"{verdict.p:.4g}"
            adjusted = None if verdict is None else verdict.adjusted
            values[f"{name} p Holm"] = "" if adjusted is None else f"{adjusted:.4g}"
            values[f"{name} verdict about"] = verdict.about if verdict and verdict.p is not None else ""
            values[f"{name} protocol"] = (column.protocol or measured.protocol) if measured else ""
            values[f"{name} precision"] = measured.precision if measured else ""
            values[f"{name} other code"] = measured.other_code if measured else ""
    return values


def _leading(section: Section, row: Row) -> dict[str, str]:
    return dict(zip(section.leading, map(guarded, row.leading), strict=True))


def wide_csv(sections: Sequence[Section]) -> str:
    """Return one line a row with mean, sample standard deviation (std) and number of trunks (n) of each quantity.

    Columns are `section`, `profile`, `published`, the row's texts, `arch`, and for each quantity `<key> mean`,
    `<key> std` and `<key> n`, where the key is `task/metric/protocol`; without the protocol where a column has several
    or none. They have the same names whatever else was measured. Values are not rounded.
    """
    import pandas as pd

    lines: list[dict[str, str]] = []
    fields: dict[str, None] = dict.fromkeys(["section", "profile", "published"])
    for section in sections:
        fields |= dict.fromkeys(section.leading)
    fields["arch"] = None
    for section in sections:
        keys = _keys(section.columns)
        for key in keys:
            fields |= dict.fromkeys(f"{key} {what}" for what in ("mean", "std", "n"))
        for row in section.rows:
            line = {"section": section.key, "profile": section.profile, "published": "yes" if row.published else "no"}
            line |= _leading(section, row) | {"arch": guarded(row.arch)}
            for key, cell in zip(keys, row.cells, strict=True):
                if cell is not None:
                    spread = cell.summary.between
                    line[f"{key} mean"] = repr(cell.summary.mean)
                    line[f"{key} std"] = "" if spread is None else repr(spread)
                    line[f"{key} n"] = "" if cell.published else str(cell.summary.n)
            lines.append(line)
    return pd.DataFrame(lines, columns=list(fields)).to_csv(index=False, lineterminator="\n")


def _keys(columns: Sequence[Column]) -> list[str]:
    """A name for each column, with the fingerprint of the data where it takes that to tell two of a protocol apart."""
    keys = [
        "/".join(filter(None, (column.task.removeprefix(PREFIX) or LOGGED, column.metric, column.protocol)))
        for column in columns
    ]
    counts = Counter(keys)
    return [
        guarded(f"{key}/{column.data[:8]}" if counts[key] > 1 and column.data else key)
        for key, column in zip(keys, columns, strict=True)
    ]


def _plain(value: float | None) -> str:
    return "" if value is None else str(round(value, 6))
