"""The lines below a table: what it does and doesn't show, seeds, protocols, data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import Any, Literal

from bench.record import Record
from bench.results.as_now import without_effect
from bench.results.definitions import definition_notes
from bench.results.differences import groups_of
from bench.results.frame import precision_of, way_of
from bench.results.holm import holm
from bench.results.interventions import intervention_notes
from bench.results.mixtures import mixture_notes
from bench.results.other_code import other_code_notes
from bench.results.rows import Rows
from bench.results.sections import Column, Line, Row
from bench.results.seen import seen_notes
from bench.results.statistics import THESE_WEIGHTS, compare, error_of_mean, held_to
from bench.results.unequal import unequal_notes

ALL_PAIRS = 20  # rows up to which each pair of them is compared
# Settings that neither identify nor change a protocol.
_LEFT_OUT = frozenset({"name", "summary", "source", "profile", "workers", "kind", "dataset"})


def section_notes(records: Sequence[Record], rows: Rows, repeats: int = 0) -> tuple[str, ...]:
    """Return the notes of a section whose measured rows come from `records`; `repeats` older ones were left out."""
    notes: list[str] = []
    measured = [line.row for line in rows.measured]
    if measured:
        notes += rows.table.measured_notes or _differences(rows)
        notes += _seeds(measured)
        for group in groups_of(rows.measured):
            where = _where(group) if rows.table.datasets else ""
            notes += [*seen_notes(group, rows.columns, where), *unequal_notes(group, rows.columns, where)]
        notes += _by_group(rows) if rows.table.datasets else _distinguishable(_decisive(rows.columns), measured)
        logged = [column.header for column in rows.columns if not column.task]
        if any(record.pretrain_metrics for record in records) and logged:
            some, last = ", ".join(logged[:-1]), logged[-1]
            listed = f"{some} and {last} are means" if some else f"{last} is a mean"
            notes.append(f"{listed} over the last logged steps of the pretraining.")
        notes += definition_notes(rows.measured)
        notes += other_code_notes(rows.measured, rows.columns)
        notes += intervention_notes(rows.measured, rows.columns)
        notes += _protocols(records, rows)
        if pretrained := _precision(records, "pretrain").strip():
            notes.append(pretrained)
        if rows.table.datasets:
            names = [(line.fields["dataset"], line.row) for line in rows.measured if line.row.label != line.row.name]
            if names:
                configs = dict.fromkeys(f"{dataset} {row.label}: {row.name}" for dataset, row in names)
                notes.append(f"Configs: {'; '.join(configs)}.")
        notes += mixture_notes(records)
        skipped = [f"{r.pretrain} {r.task} {r.seeds}: {r.images_skipped}" for r in records if r.images_skipped]
        notes += [f"Unreadable images that were skipped: {', '.join(skipped)}."] if skipped else []
        spectra = {record.task for record in records if record.kind == "diagnostics"}
        if any(column.task in spectra and not column.metric.endswith("_percent") for column in rows.columns):
            notes.append(
                "Not in percent: RankMe and effective rank, in dimensions; uniformity, a logarithm (lower spreads "
                "more); tolerance, a cosine. Higher is not better there, and nothing is bold."
            )
    if repeats:
        notes.append(
            f"{repeats} older records of a trunk that was measured again in the same cell, by the same seed of the "
            "task or by one that decides nothing there, are left out."
        )
    return (*notes, *(rows.table.published_notes if rows.published else ()))


def _differences(rows: Rows) -> list[str]:
    """To which row differences are."""
    if rows.table.datasets and rows.table.baseline:
        return [f"In brackets with a sign: the difference to the {rows.table.baseline} row that differs in that alone."]
    if rows.base is None:
        return ["No differences: there is no baseline row here."]
    several = len(rows.measured) > 1
    shown = any(cell is not None and cell.difference is not None for line in rows.measured for cell in line.row.cells)
    return [f"Differences are to {rows.base.label}."] if several or shown else []


def _decisive(columns: Sequence[Column]) -> dict[int, str]:
    """{place: header} of the columns that pairs of rows are judged by: each mIoU, or else the first."""
    chosen = [i for i, column in enumerate(columns) if column.metric == "miou_percent" and column.protocol]
    chosen = chosen or [i for i, column in enumerate(columns) if column.protocol][:1]
    return {i: columns[i].title for i in chosen}


def _by_group(rows: Rows) -> list[str]:
    """Which pairs can be told apart among rows that differ in their method alone, by the table's first column."""
    first = rows.table.columns[0].key
    notes = []
    for group in groups_of(rows.measured):
        chosen = {i: c.title + _where(group) for i, c in enumerate(rows.columns) if (c.task, c.metric) == first}
        notes += _distinguishable(chosen, [line.row for line in group])
    return notes


def _where(group: Sequence[Line]) -> str:
    """Return " on cifar10, 1000 epochs" of rows that differ in their method alone."""
    fields = group[0].fields
    return f" on {fields['dataset']}" + (f", {fields['epochs']} epochs" if "epochs" in fields else "")


def _distinguishable(chosen: dict[int, str], rows: Sequence[Row]) -> list[str]:
    """Which pairs of measured rows can be told apart, by each of the chosen columns {place: header}."""
    lines = []
    for place, header in chosen.items():
        cells = [(row.label, cell) for row in rows if (cell := row.cells[place]) is not None]
        if len(cells) < 2:
            continue
        apart: list[str] = []
        alike: list[str] = []
        unjudged: list[str] = []
        pairs, against = list(combinations(cells, 2)), ""
        if len(cells) > ALL_PAIRS:  # all pairs would grow with the square of the rows
            judged = [one for one in cells if error_of_mean(one[1].values) is not None]
            best = max(judged or cells, key=lambda one: one[1].summary.mean)
            pairs = [(best, one) for one in cells if one is not best]
            against = f" ({len(cells)} rows, each against the highest alone)"
        verdicts = [compare(cell.values, other.values) for (_, cell), (_, other) in pairs]
        family = comb(sum(error_of_mean(cell.values) is not None for _, cell in cells), 2)
        adjusted = holm([verdict.p for verdict in verdicts], of=family)
        for ((name, _), (other, _)), uncorrected, p in zip(pairs, verdicts, adjusted, strict=True):
            verdict = held_to(uncorrected, p)
            weights = THESE_WEIGHTS if verdict.about == "weights" else ""
            if verdict.word in {"higher", "lower"}:
                above, below = (name, other) if verdict.word == "higher" else (other, name)
                apart.append(f"{above} > {below}{weights} (p = {verdict.adjusted:.2g})")
            else:
                (alike if verdict.word == "≈" else unjudged).append(f"{name} ≈ {other}{weights}")
        parts, corrected = [], f" after Holm's correction over {family} pairs" if family > 1 else ""
        if apart:
            parts.append(f"distinguishable (p < 0.05{corrected}): {', '.join(apart)}")
        if alike:
            parts.append(f"not distinguishable{'' if apart else corrected}: {', '.join(alike)}")
        if unjudged:
            which = "no pair" if len(unjudged) == len(pairs) else f"{len(unjudged)} pairs not"
            parts.append(f"{which} judged, as that takes two values of both rows and some spread")
        lines.append(f"By {header}{against}: {'; '.join(parts)}.")
    return lines


def _seeds(rows: Sequence[Row]) -> list[str]:
    """How many trunks and task seeds the cells of these rows have, and what a verdict about one trunk is about."""
    cells = [cell for row in rows for cell in row.cells if cell is not None]
    if not cells:
        return []
    trunks, seeds = {cell.summary.n for cell in cells}, {len(values) for cell in cells for values in cell.values}
    if seeds == {1}:
        if trunks == {1}:
            return ["One seed a cell: no spread is known, so that no difference here can be believed or dismissed."]
        return [f"Seeds a cell: {_range(trunks)}."]
    notes = [f"Trunks a cell: {_range(trunks)}, each measured by {_range(seeds)} seeds of the task."]
    single = [row.label for row in rows if any(cell and cell.summary.n == 1 < cell.summary.count for cell in row.cells)]
    if single:
        notes.append(
            f"{THESE_WEIGHTS} In some column a single trunk, measured by several seeds of the task: "
            f"{', '.join(single)}. What is said of it there is about these weights, and not about the method that gave "
            "them: its spread is that of the task alone."
        )
    return notes


def _range(counts: set[int]) -> str:
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _protocols(records: Sequence[Record], rows: Rows) -> list[str]:
    """A line for each way in which something was measured: in the order of columns, or of tasks."""
    of_way: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        of_way.setdefault(way_of(record), []).append(record)
    headers: dict[tuple[str, str, str], list[str]] = {}
    for column in rows.columns:
        headers.setdefault((column.task, column.protocol, column.data), []).append(column.title)
    lines = []
    for way in sorted(of_way) if rows.table.datasets else [way for way in headers if way in of_way]:
        (task, protocol, data), first = way, of_way[way][0]
        what = f"protocol {protocol} ({describe(settings_that_count(first))})"
        data = f"data {data or 'without a fingerprint'}.{_precision(of_way[way], 'downstream')}"
        if rows.table.datasets:
            lines.append(f"{task}: {what}, {data}")
        else:
            lines.append(f"{', '.join(headers[way])}: {task}, {what}, on {first.dataset}, {data}")
    return lines


def _precision(records: Sequence[Record], side: Literal["pretrain", "downstream"]) -> str:
    """What `precision=auto` was on the machines that ran one side of these records; "" where none said auto."""
    if all(record.settings.get(side, {}).get("precision") != "auto" for record in records):
        return ""
    groups: dict[str, list[str]] = {}
    for record in records:
        if (precision := precision_of(record, side)) is not None:
            seeds = f"seed {record.seed}" if side == "pretrain" else record.seeds
            groups.setdefault(precision, []).append(f"{record.pretrain} {seeds}")
    verb = "Pretrained" if side == "pretrain" else "Computed"
    if len(groups) < 2:
        return "".join(f" {verb} in {precision}." for precision in groups)
    parts = (f"in {precision}: {', '.join(sorted(set(rows)))}" for precision, rows in sorted(groups.items()))
    return f" Mixed precision: {verb.lower()} {'; '.join(parts)}."


def settings_that_count(record: Record) -> dict[str, Any]:
    """Return the settings of a record's task without those that decide no result."""
    return without_effect(record.settings.get("downstream", {}), record.kind, record.profile)


def describe(settings: dict[str, Any]) -> str:
    """Return a protocol in one line: what its config says of itself, then the settings that are set."""
    values = [
        f"{key}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"
        for key, value in settings.items()
        if key not in _LEFT_OUT and value not in (None, {}, [], ())
    ]
    summary = str(settings.get("summary", "")).rstrip(".")
    return "; ".join(part for part in (summary, " ".join(values)) if part) or "settings not recorded"
