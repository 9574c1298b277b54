"""Records as CSV: one line a record and number, for a data frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.record import Record
from bench.results.columns import PREFIX
from bench.results.escapes import guarded
from bench.results.other_code import stages_of_other_code
from bench.results.parts import Part
from bench.results.record_lines import RECORD_COLUMNS, lines_of


def long_csv(parts: Sequence[Part], all_metrics: bool) -> str:
    """Return one line for each number of each record that counts in these parts; published rows have none.

    With `all_metrics` numbers that no table has a column for are there, too, such as one a class. A class that never
    occurred has no line. Values are as recorded.
    """
    import pandas as pd

    lines = [line for part in parts for line in _lines(part, all_metrics)]
    return pd.DataFrame(lines, columns=[*RECORD_COLUMNS]).to_csv(index=False, lineterminator="\n")


def _lines(part: Part, all_metrics: bool) -> Iterator[tuple[str, ...]]:
    rows = {(line.record.dataset if part.rows.table.datasets else "", *_recipe(line.record))
            for line in part.rows.measured if line.record is not None}  # fmt: skip
    ways = {(column.task, column.metric, column.protocol, column.data) for column in part.rows.columns}
    chosen = [one for one in part.records if (one.dataset if part.rows.table.datasets else "", *_recipe(one)) in rows]
    for record, other in zip(chosen, stages_of_other_code(chosen), strict=True):
        metrics = None if all_metrics else {metric for metric in record.metrics if _has_column(record, metric, ways)}
        for line in lines_of(record, other, metrics):
            yield tuple(guarded(value) if isinstance(value, str) else repr(value) for value in line)


def _recipe(record: Record) -> tuple[str, str]:
    return record.pretrain, record.fingerprints.recipe


def _has_column(record: Record, metric: str, ways: set[tuple[str, str, str, str]]) -> bool:
    """Whether one of the columns (task, metric, protocol, data) has it; in a column of several data sets "" is any."""
    data, protocol = record.data.get(record.dataset, ""), record.fingerprints.protocol
    start = f"{record.dataset}_"
    tasks = {record.task, PREFIX + record.task.removeprefix(start) if record.task.startswith(start) else record.task}
    return any((task, metric, *way) in ways for task in tasks for way in ((protocol, data), ("", "")))
