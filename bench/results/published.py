"""Published numbers: rows of a CSV file, read as a study file says."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

from bench.config.studies import RowField, Table
from bench.errors import BadInput

REMEDY = "correct it, or restore it from version control."


@dataclass(frozen=True)
class PublishedRow:
    """One row. `values`: (task, metric) -> value in the metric's unit; a value that is not given is not there."""

    texts: dict[RowField, str]
    values: dict[tuple[str, str], float]


def read_published(table: Table, folder: Path) -> list[PublishedRow]:
    """Return the rows of a table's CSV file in `folder`, in its order ([] if there is no such file).

    Raises BadInput when the file's columns are not those of the study file, or a value is no number.
    """
    import pandas as pd

    if table.file is None or not (file := folder / table.file).is_file():
        return []
    names = [row.column for row in table.rows] + [column.column for column in table.columns]
    try:
        text = file.read_text(encoding="utf-8")
        lines = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
        frame = pd.read_csv(io.StringIO(lines), dtype=str, keep_default_na=False).fillna("")
    except (OSError, ValueError) as error:  # pandas' errors of parsing are ValueErrors
        raise BadInput(f"{file} is not a readable CSV file ({str(error).strip()}); {REMEDY}") from error
    if set(frame.columns) != set(names):
        raise BadInput(f"{file} has other columns than {', '.join(sorted(names))}; {REMEDY}")
    values = {}
    for column in table.columns:
        numbers = pd.to_numeric(frame[column.column], errors="coerce")
        wrong = frame.loc[~numbers.abs().lt(math.inf) & (frame[column.column] != ""), column.column]
        if wrong.size:
            raise BadInput(f"{file} holds {wrong.iloc[0]!r} where a number belongs; {REMEDY}")
        values[column.key] = numbers * column.factor
    return [
        PublishedRow(
            {row.field: str(frame.at[i, row.column]) for row in table.rows},
            {key: float(numbers[i]) for key, numbers in values.items() if not pd.isna(numbers[i])},
        )
        for i in frame.index
    ]
