"""The lines below a table: what it does and doesn't show, seeds, protocols, data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal

from bench.record import Record
from bench.results.frame import column_key
from bench.results.sections import Cell, Column, Row
from bench.results.statistics import compare

ALL_PAIRS = 20  # rows up to which each pair of them is compared
# Settings that neither identify nor change a protocol.
_LEFT_OUT = frozenset({"name", "summary", "source", "profile", "workers", "kind", "dataset"})


def section_notes(
    records: Sequence[Record], columns: Sequence[Column], rows: Sequence[Row], baseline: Row | None, repeats: int
) -> tuple[str, ...]:
    """Return the notes of one section; `records` are those that its measured rows come from."""
    notes = []
    if records:
        if baseline is None:
            notes.append("No differences: there is no baseline row here.")
        elif sum(not row.published for row in rows) > 1:
            notes.append(f"Differences are to {baseline.label}.")
        notes += seeds_of(rows)
        notes += distinguishable(columns, rows)
        notes += _protocols(records, columns)
        if pretrained := precision_words(records, "pretrain").strip():
            notes.append(pretrained)
        notes += skipped_images(records)
        if any(column.protocol and not column.metric.endswith("_percent") for column in columns):
            notes.append(
                "Not in percent: RankMe and effective rank, in dimensions; uniformity, a logarithm (lower spreads "
                "more); tolerance, a cosine. Higher is not better there, and nothing is bold."
            )
    if repeats:
        notes.append(f"{repeats} older records of a seed that was measured again in the same cell are left out.")
    if any(row.published for row in rows):
        notes.append(
            "† Published in 2021 in a slide deck, not measured here: protocol, schedule and number of seeds are not "
            "stated. No difference is computed between these rows and measured ones, and they do not compete for best."
        )
    return tuple(notes)


def distinguishable(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Return which pairs of measured rows can be told apart, by each mIoU column, or else by the first column."""
    chosen = [i for i, column in enumerate(columns) if column.metric == "miou_percent" and column.protocol]
    chosen = chosen or [i for i, column in enumerate(columns) if column.protocol or column.mixed][:1]
    lines = []
    for index in chosen:
        cells = [(row.label, cell) for row in rows if (cell := row.cells[index]) is not None and not cell.published]
        if len(cells) < 2:
            continue
        apart: list[str] = []
        alike: list[str] = []
        unjudged: list[str] = []
        pairs = list(combinations(cells, 2)) if len(cells) <= ALL_PAIRS else _to_the_best(cells)
        for (name, cell), (other, other_cell) in pairs:
            verdict = compare(cell.values, other_cell.values)
            if verdict.word in {"higher", "lower"}:
                above, below = (name, other) if verdict.word == "higher" else (other, name)
                apart.append(f"{above} > {below} (p = {verdict.p:.2g})")
            else:
                (alike if verdict.word == "≈" else unjudged).append(f"{name} ≈ {other}")
        parts = []
        if apart:
            parts.append(f"distinguishable (p < 0.05): {', '.join(apart)}")
        if alike:
            parts.append(f"not distinguishable: {', '.join(alike)}")
        if unjudged:
            which = "no pair" if len(unjudged) == len(pairs) else f"{len(unjudged)} pairs not"
            parts.append(f"{which} judged, as that takes two seeds of both rows and some spread")
        against = "" if len(cells) <= ALL_PAIRS else f" ({len(cells)} rows, each against the highest alone)"
        lines.append(f"By {columns[index].header}{against}: {'; '.join(parts)}.")
    return lines


def _to_the_best(cells: Sequence[tuple[str, Cell]]) -> list[tuple[tuple[str, Cell], tuple[str, Cell]]]:
    """The pairs of the highest row with each other: all pairs would grow with the square of the rows."""
    best = max(cells, key=lambda one: one[1].summary.mean)
    return [(best, one) for one in cells if one is not best]


def seeds_of(rows: Sequence[Row]) -> list[str]:
    """Return how many seeds the measured cells of these rows have; there must be such a cell."""
    counts = {cell.summary.n for row in rows for cell in row.cells if cell is not None and not cell.published}
    if counts == {1}:
        return ["One seed a cell: no spread is known, so that no difference here can be believed or dismissed."]
    return [f"Seeds a cell: {min(counts)}." if len(counts) == 1 else f"Seeds a cell: {min(counts)} to {max(counts)}."]


def _protocols(records: Sequence[Record], columns: Sequence[Column]) -> list[str]:
    first: dict[tuple[str, str, str], Record] = {}
    for record in records:
        first.setdefault(column_key(record), record)
    lines = []
    for key in dict.fromkeys((column.task, column.protocol, column.data) for column in columns if column.protocol):
        record = first[key]
        headers = ", ".join(column.header for column in columns if (column.task, column.protocol, column.data) == key)
        lines.append(
            f"{headers}: {key[0]}, protocol {key[1]} ({describe(record.settings.get('downstream', {}))}), "
            f"on {record.dataset}, data {key[2] or 'without a fingerprint'}."
            + precision_words([other for other in records if column_key(other) == key], "downstream")
        )
    return lines


def precision_words(records: Sequence[Record], side: Literal["pretrain", "downstream"]) -> str:
    """Return what `precision=auto` was on the machines that ran one side of these records; "" where none said auto."""
    if all(record.settings.get(side, {}).get("precision") != "auto" for record in records):
        return ""
    groups: dict[str, list[str]] = {}
    for record in records:
        if (precision := precision_of(record, side)) is not None:
            groups.setdefault(precision, []).append(f"{record.pretrain} seed {record.seed}")
    verb = "Pretrained" if side == "pretrain" else "Computed"
    if len(groups) < 2:
        return "".join(f" {verb} in {precision}." for precision in groups)
    parts = (f"in {precision}: {', '.join(sorted(set(rows)))}" for precision, rows in sorted(groups.items()))
    return f" Mixed precision: {verb.lower()} {'; '.join(parts)}."


def precision_of(record: Record, side: Literal["pretrain", "downstream"]) -> str | None:
    """Return what one side of a record was computed in; None where nothing was trained, or it is not known."""
    setting = record.settings.get(side, {}).get("precision")
    kept = record.precision.get("pretrain" if side == "pretrain" else record.kind)
    return kept or (setting if setting != "auto" and (side == "downstream" or record.pretrain_set != "none") else None)


def describe(settings: dict[str, Any]) -> str:
    """Return a protocol in one line: what its config says of itself, then the settings that are set."""
    values = [
        f"{key}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"
        for key, value in settings.items()
        if key not in _LEFT_OUT and value not in (None, {}, [], ())
    ]
    summary = str(settings.get("summary", "")).rstrip(".")
    return "; ".join(part for part in (summary, " ".join(values)) if part) or "settings not recorded"


def skipped_images(records: Sequence[Record]) -> list[str]:
    """Return which stages met unreadable images, and how many."""
    found = [f"{r.pretrain} {r.task} seed {r.seed}: {r.images_skipped}" for r in records if r.images_skipped]
    return [f"Unreadable images that were skipped: {', '.join(found)}."] if found else []
