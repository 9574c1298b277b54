"""Which columns a section has, and which measured number stands in which."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench.config.studies import Table, ValueColumn
from bench.config.tasks import metrics_of
from bench.results.frame import AND, WAY, way_suffix
from bench.results.sections import Column

if TYPE_CHECKING:
    import pandas as pd

Way = tuple[str, str]  # protocol, fingerprint of the data
Place = tuple[str, str, str, str]  # task, protocol, data, metric

PREFIX = "{dataset}_"


@dataclass(frozen=True)
class _Family:
    """The tasks of one column: one task, or, in a table with data sets, one of each data set."""

    pattern: str  # the task's name, with {dataset} for the data set
    headers: Mapping[str, str] = field(default_factory=dict)  # metric -> header, in the order of columns
    ways: dict[str, list[Way]] = field(default_factory=dict)  # task -> how it was measured
    metrics: set[Place] = field(default_factory=set)  # what was measured


def columns_of(
    frame: pd.DataFrame, table: Table, published: Collection[tuple[str, str]] | None
) -> tuple[list[Column], dict[Place, int]]:
    """Return the columns of a long frame, and the place among them of each measured number.

    Columns follow the order of the study file, then that of tasks by name. `published` are the (task, metric) of
    published values; None where no published rows are shown.

    A table without data sets has a column for each way in which a task was measured. In one with data sets they share
    a column, each by a protocol of its own; only one that was measured in several ways has columns for itself.
    """
    families = _families(frame, bool(table.datasets))
    listed = list(dict.fromkeys(column.task for column in table.columns if column.task))
    columns: list[Column] = []
    places: dict[Place, int] = {}
    for pattern in [*listed, *sorted(set(families) - set(listed))]:
        family = families.get(pattern) or _Family(pattern)
        for column, numbers in _family_columns(family, table, published):
            places |= dict.fromkeys(numbers, len(columns))
            columns.append(column)
    for logged in (column for column in table.columns if not column.task):
        places["", "", "", logged.metric] = len(columns)
        columns.append(_column(logged, table, published=True))
    return _with_precision(frame, columns, places), places


def _families(frame: pd.DataFrame, by_dataset: bool) -> dict[str, _Family]:
    """{pattern: family}; the ways of a task in the order of rows, or by hash in a table with data sets."""
    order = [] if by_dataset else ["pretrain_set", "pretrain", "backbone", "recipe"]
    keys = ["task", "kind", "protocol", "dataset", "data"]
    families: dict[str, _Family] = {}
    measured = frame[frame["task"] != ""].sort_values([*order, *keys], kind="stable")
    for task, kind, protocol, dataset, data, metric in measured[[*keys, "metric"]].drop_duplicates().values:
        prefix = f"{dataset}_"
        pattern = PREFIX + task.removeprefix(prefix) if by_dataset and task.startswith(prefix) else task
        headers = frame.attrs.get("headers", {}).get(kind) or metrics_of(kind)
        family = families.setdefault(pattern, _Family(pattern, headers))
        ways = family.ways.setdefault(task, [])
        if (protocol, data) not in ways:
            ways.append((protocol, data))
        family.metrics.add((task, protocol, data, metric))
    return families


def _family_columns(
    family: _Family, table: Table, published: Collection[tuple[str, str]] | None
) -> list[tuple[Column, list[Place]]]:
    """The columns of one family, each with the numbers that stand in it."""
    mixed = bool(table.datasets)
    listed = {column.metric: column for column in table.columns if column.task == family.pattern}
    single = {task: ways[0] for task, ways in family.ways.items() if len(ways) == 1}
    several = list(dict.fromkeys(way for ways in family.ways.values() if len(ways) > 1 for way in ways))
    shared = bool(single) or (mixed and bool(listed) and (published is not None or not several))
    headers = family.headers
    others = headers or sorted({metric for *_, metric in family.metrics if metric.endswith("_percent")})
    result: list[tuple[Column, list[Place]]] = []
    for metric in dict.fromkeys([*listed, *others]):
        header = f"{family.pattern.removeprefix(PREFIX)} {headers.get(metric, metric.removesuffix('_percent'))}"
        usual = ValueColumn(column="-", metric=metric, task=family.pattern, header=header)
        column = _column(listed.get(metric, usual), table)
        expected = published is not None and (family.pattern, metric) in published
        candidates: list[tuple[Column, dict[str, Way]]] = []
        if shared:
            protocol, data = ("", "") if mixed else next(iter(single.values()))
            candidates.append((replace(column, protocol=protocol, data=data, published=True), single))
        for way in several:
            tasks = {task: way for task, ways in family.ways.items() if len(ways) > 1 and way in ways}
            header = column.header + way_suffix(*way, several)
            candidates.append((replace(column, header=header, protocol=way[0], data=way[1]), tasks))
        if not shared and expected:
            header = column.header + (" [published]" if several else "")
            candidates.append((replace(column, header=header, published=True), {}))
        for candidate, tasks in candidates:
            numbers = [(task, *way, metric) for task, way in tasks.items()]
            if (
                (mixed and metric in listed)
                or (candidate.published and expected)
                or family.metrics.intersection(numbers)
            ):
                result.append((candidate, numbers))
    if several and not mixed:  # columns of one way side by side, published ones last
        result.sort(key=lambda one: len(several) if one[0].published else several.index((one[0].protocol, one[0].data)))
    return result


def _column(of: ValueColumn, table: Table, *, published: bool = False) -> Column:
    return Column(
        of.header,
        of.task,
        of.metric,
        decimals=of.decimals,
        mixed=bool(table.datasets),
        published=published,
        compared=of.compared,
        against=next((column.key for column in table.columns if column.column == of.against), None),
    )


def _with_precision(frame: pd.DataFrame, columns: list[Column], places: dict[Place, int]) -> list[Column]:
    """Say so of a column whose values were computed, or pretrained, in several precisions, which machines chose."""

    def mixing(side: str) -> set[int]:
        precisions: dict[int, set[str]] = {}
        known = frame.loc[frame[side].notna(), [*WAY, "metric", side]].drop_duplicates()
        for *place, precision in known.itertuples(index=False):
            if (number := places.get(tuple(place))) is not None:
                precisions.setdefault(number, set()).update(precision.split(AND))
        return {number for number, several in precisions.items() if len(several) > 1}

    words = dict.fromkeys(mixing("pretrained_in"), "mixed precision of pretraining")
    words |= dict.fromkeys(mixing("computed_in"), "mixed precision")
    return [replace(column, remark=words.get(i, "")) for i, column in enumerate(columns)]
