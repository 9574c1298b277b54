"""Records as CSV: one line a record and number, for a data frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.record import Record
from bench.results.columns import PREFIX
from bench.results.definitions import older_definition
from bench.results.escapes import guarded
from bench.results.frame import precision_of
from bench.results.interventions import interventions_of
from bench.results.other_code import stages_of_other_code
from bench.results.parts import Part
from bench.results.resources import machine

# The names of the columns, which stay as they are; new ones are added at the end.
COLUMNS = (
    "row",  # the pretraining's name
    "pretrain_set",
    "arch",
    "profile",
    "task",
    "kind",
    "dataset",  # measured on
    "seed",  # of the pretraining
    "task_seed",  # of the task, which may be the same
    "metric",  # as records name it, without the unit
    "class",  # of a metric that has a value a class
    "value",
    "unit",  # percent, or "" where the metric has none or does not say it
    "recipe",  # fingerprint of the pretraining, shared by its seeds
    "protocol",  # how it was measured
    "stage",  # fingerprint of this very result
    "data",  # fingerprint of the data measured on
    "weights",  # hash of the trunk; "" in older records
    "precision",  # of the measurement, as far as that is known
    "commit",  # of the code that measured
    "changed_code",  # whether that had changes that were not committed: yes, no, or "" where it is not known
    "other_code",  # stages that ran other code than that of now
    "older_definition",  # of objectives
    "interventions",  # what the pretraining did by itself
    "machine",  # that measured
    "images_skipped",
    "created",  # UTC
    "record",  # its file
)
PERCENT = "_percent"


def long_csv(parts: Sequence[Part], all_metrics: bool) -> str:
    """Return one line for each number of each record that counts in these parts; published rows have none.

    With `all_metrics` numbers that no table has a column for are there, too, such as one a class. A class that never
    occurred has no line. Values are as recorded.
    """
    import pandas as pd

    lines = [line for part in parts for line in _lines(part, all_metrics)]
    return pd.DataFrame(lines, columns=list(COLUMNS)).to_csv(index=False, lineterminator="\n")


def _lines(part: Part, all_metrics: bool) -> Iterator[tuple[str, ...]]:
    rows = {(line.record.dataset if part.rows.table.datasets else "", *_recipe(line.record))
            for line in part.rows.measured if line.record is not None}  # fmt: skip
    ways = {(column.task, column.metric, column.protocol, column.data) for column in part.rows.columns}
    chosen = [one for one in part.records if (one.dataset if part.rows.table.datasets else "", *_recipe(one)) in rows]
    for record, other in zip(chosen, stages_of_other_code(chosen), strict=True):
        for metric, value in record.metrics.items():
            if not (all_metrics or _has_column(record, metric, ways)):
                continue
            values = value if isinstance(value, dict) else {"": value}
            for name, number in values.items():
                if number is not None:
                    yield _line(record, other, metric, name, number)


def _recipe(record: Record) -> tuple[str, str]:
    return record.pretrain, record.fingerprints.recipe


def _has_column(record: Record, metric: str, ways: set[tuple[str, str, str, str]]) -> bool:
    """Whether one of the columns (task, metric, protocol, data) has it; in a column of several data sets "" is any."""
    data, protocol = record.data.get(record.dataset, ""), record.fingerprints.protocol
    start = f"{record.dataset}_"
    tasks = {record.task, PREFIX + record.task.removeprefix(start) if record.task.startswith(start) else record.task}
    return any((task, metric, *way) in ways for task in tasks for way in ((protocol, data), ("", "")))


def _line(record: Record, other: Sequence[str], metric: str, name: str, value: float) -> tuple[str, ...]:
    dirty = record.git.dirty
    texts = (
        record.pretrain,
        record.pretrain_set,
        record.arch,
        record.profile,
        record.task,
        record.kind,
        record.dataset,
    )
    fingerprints = record.fingerprints
    return (
        *map(guarded, texts),
        str(record.seed),
        str(record.own_seed),
        guarded(metric.removesuffix(PERCENT)),
        guarded(name),
        repr(value),
        "percent" if metric.endswith(PERCENT) else "",
        fingerprints.recipe,
        fingerprints.protocol,
        fingerprints.stage,
        record.data.get(record.dataset, ""),
        record.trunk or "",
        precision_of(record, "downstream") or "",
        record.git.commit or "",
        "" if dirty is None else "yes" if dirty else "no",
        guarded(", ".join(other)),
        guarded(older_definition(record)),
        guarded("; ".join(interventions_of(record))),
        guarded(machine(record.hardware)),
        str(record.images_skipped),
        record.created,
        guarded(record.file_name),
    )
