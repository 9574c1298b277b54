"""Sections of tables -> tables as a page shows them: one architecture each, with what opens from each cell."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.record import Record
from bench.results.cells import signed
from bench.results.columns import PREFIX
from bench.results.headers import LOGGED
from bench.results.interventions import INTERVENED
from bench.results.named_rows import label_of
from bench.results.other_code import MARK
from bench.results.report.believed import findings_of, marred_by
from bench.results.report.evidence import metric_words
from bench.results.report.known import Known
from bench.results.report.published_rows import beside_measured, differs
from bench.results.report.shown import ShownCell, ShownColumn, ShownRow, ShownTable
from bench.results.resources import build_resources
from bench.results.row_settings import settings_apart
from bench.results.sections import EMPTY, Cell, Column, Row, Section
from bench.results.short_notes import PUBLISHED
from bench.results.statistics import THESE_WEIGHTS, difference_of
from bench.results.tables import build_tables
from bench.results.trunks import Trunks

AMOUNTS = {"s": ("time", "s"), "MiB": ("memory", "MiB"), "GPU MiB": ("GPU memory", "MiB")}
LESS = ", measured less published"
WORDS = {"higher": "higher", "lower": "lower", "≈": "cannot be told apart", "?": "cannot be judged"}


def tables_of_archs(records: Sequence[Record], reference: Path, trunks: Trunks, start: str) -> list[ShownTable]:
    """Return the tables of these records, those of one architecture together.

    What is compared with what, and what is bold, is of rows of one architecture. `trunks` are those of all records
    that there are; keys begin with `start`.
    """
    known = Known(records)
    shown = []
    for arch in sorted({record.arch for record in records}):
        of_arch = [record for record in records if record.arch == arch]
        for section in build_tables(of_arch, reference, trunks=trunks):
            if (kept := beside_measured(section, arch)) is not None:
                profiles = {
                    one.profile for row in kept.rows for cell in row.cells if cell for one in known.of(cell.stages)
                }
                shown.append(_table(kept, arch, min(profiles), known, f"{start}-{arch}-{section.key}"))
    return shown


def costs_of_archs(records: Sequence[Record]) -> list[ShownTable]:
    """Return the tables of what stages took, one for each architecture and profile."""
    nothing = Known([])
    return [
        _table(section, arch, section.key, nothing, f"costs-{arch}-{section.key}")
        for arch in sorted({record.arch for record in records})
        for section in build_resources([record for record in records if record.arch == arch])
    ]


def _table(section: Section, arch: str, profile: str, known: Known, key: str) -> ShownTable:
    columns = tuple(_column(column) for column in section.columns)
    places = [place for place in range(len(section.leading)) if place != section.named]
    measured = [row for row in section.rows if not row.published]
    same = [p for p in places if len({row.leading[p] for row in section.rows}) == 1 and len(section.rows) > 1]
    varying = [place for place in places if place not in same]
    rows = []
    for number, row in enumerate(section.rows):
        pairs = zip(row.cells, section.columns, strict=True)
        cells = tuple(
            None if cell is None else _cell(cell, column, row, section, known, f"{key}-{number}-{place}")
            for place, (cell, column) in enumerate(pairs)
        )
        rows.append(
            ShownRow(
                row.leading[section.named],
                tuple(row.leading[place] for place in varying),
                cells,
                row.published,
                bool(row.older),
                differs(row, measured, section) if row.published else "",
            )
        )
    return ShownTable(
        key=_name(key),
        title=section.title,
        arch=arch,
        profile=profile,
        named=section.leading[section.named],
        leading=tuple(section.leading[place] for place in varying),
        columns=columns,
        rows=tuple(rows),
        same=tuple(
            (section.leading[place], section.rows[0].leading[place])
            for place in same
            if section.rows[0].leading[place] != arch
        ),
        notes=section.notes,
        findings=tuple(findings_of(section)),
        marred=tuple(marred_by(section, known)),
    )


def _name(key: str) -> str:
    """A name for an element that any key gives: keys hold what records call their architecture."""
    return "t" + hashlib.sha256(key.encode()).hexdigest()[:12]


def _column(column: Column) -> ShownColumn:
    """The header without the task that stands above it, and with its unit."""
    group = column.task.removeprefix(PREFIX) or LOGGED
    if column.amount:
        what, unit = AMOUNTS[column.metric]
        suffix = column.header.removeprefix(column.task).removesuffix(f", {column.metric}")
        return ShownColumn(what + suffix, group, unit)
    return ShownColumn(column.title.removeprefix(f"{group} "), group, "%" if column.metric.endswith("_percent") else "")


def _cell(cell: Cell, column: Column, row: Row, section: Section, known: Known, key: str) -> ShownCell:
    digits = column.decimals
    name = row.label or row.leading[section.named]
    mean = signed(cell.summary.mean, digits) if cell.signed else f"{cell.summary.mean:.{digits}f}"
    records = known.of(cell.stages)
    shown = ShownCell(
        text=mean,
        sort=cell.summary.mean,
        best=cell.best,
        difference="" if cell.difference is None else signed(cell.difference, digits),
        title=f"{name}: {column.title}" + (LESS if cell.signed else ""),
        dataset=records[0].dataset if records else "",
        protocol=records[0].fingerprints.protocol if records and column.task else "",
    )
    if cell.published:
        return replace(shown, count="published", key=_name(key), facts=tuple(_of_published(cell, column, row, section)))
    spread = cell.summary.within if cell.summary.between is None else cell.summary.between
    marks = "".join(
        mark
        for mark, there in (
            (THESE_WEIGHTS, (cell.best and cell.best_about == "weights") or _of_weights(cell)),
            (MARK, cell.other_code),
            (INTERVENED, cell.interventions),
        )
        if there
    )
    shown = replace(
        shown,
        spread="" if spread is None else f"± {spread:.{digits}f}",
        count=_counts(cell, column),
        symbol=cell.verdict.symbol if cell.verdict else "",
        verdict=WORDS[cell.verdict.word] if cell.verdict else "",
        marks=marks,
    )
    if not records:
        return shown
    others = known.of(cell.base.stages) if cell.base else []
    return replace(
        shown,
        key=_name(key),
        facts=tuple(_facts(cell, column, records, others)),
        settings_apart=tuple((d.key, d.ours, d.theirs) for d in settings_apart(records[0], others[0]))
        if others
        else (),
        marred=tuple(known.mars(name, cell.stages, cell.base.label, cell.base.stages)) if cell.base else (),
        records=tuple((r.fingerprints.stage, r.seeds, _value(r, column)) for r in records),
    )


def _of_weights(cell: Cell) -> bool:
    return cell.verdict is not None and cell.verdict.p is not None and cell.verdict.about == "weights"


def _counts(cell: Cell, column: Column) -> str:
    """How many trunks, or runs of a stage, a cell has, and how many seeds of the task each."""
    summary = cell.summary
    if column.amount:
        return f"{summary.n} runs" if summary.n > 1 else ""
    words = f"{summary.n} trunk{'s' if summary.n > 1 else ''}"
    return words if summary.count == summary.n else f"{words}, {summary.count} runs"


def _value(record: Record, column: Column) -> str:
    found = (record.metrics if column.task else record.pretrain_metrics).get(column.metric)
    return EMPTY if found is None else metric_words(found)


def _of_published(cell: Cell, column: Column, row: Row, section: Section) -> Iterator[tuple[str, str]]:
    measured = [row for row in section.rows if not row.published]
    yield "Value", f"{cell.summary.mean:.{column.decimals}f}"
    yield "Origin", "published, not measured here"
    if words := differs(row, measured, section):
        yield "What differs", words
    for note in section.notes:
        if note.startswith(PUBLISHED):
            yield "Source", note.removeprefix(PUBLISHED).strip()


def _facts(cell: Cell, column: Column, ours: Sequence[Record], others: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """What is computed of the values, from the values on."""
    digits, summary = column.decimals, cell.summary
    of = column.task and ours[0].task  # where the column has several data sets, the task of this one
    yield "Column", f"{column.title}: {column.metric} of {of or 'the pretraining'}"
    yield "Protocol", cell.protocol or column.protocol or EMPTY
    if cell.signed:
        yield "What the numbers are", "what a record says less the published value; records below have it as measured"
    yield "Mean", f"{summary.mean:.{digits}f}"
    yield "Values", "; ".join(" ".join(f"{value:.{digits}f}" for value in trunk) for trunk in cell.values)
    if summary.between is not None:
        yield "Spread between trunks", f"{summary.between:.{digits}f} (sample standard deviation of {summary.n} trunks)"
    if summary.within is not None:
        yield "Spread within a trunk", f"{summary.within:.{digits}f} (between seeds of the task)"
    if summary.count == 1:
        yield "Spread", "not known: a single value"
    if cell.best:
        about = "" if cell.best_about == "methods" else "; this rests on a single trunk"
        yield "Bold", f"cannot be told from the highest of its column{about}"
    if cell.base is not None and cell.difference is not None:
        yield f"Difference to {cell.base.label}", signed(cell.difference, digits)
        if (found := difference_of(cell.values, cell.base.values)) is not None:
            ends = f"[{signed(found.low, digits)}, {signed(found.high, digits)}]"
            yield "95 % interval of it", f"{ends}, by Welch's test over trunks, for this pair alone"
        if cell.verdict is not None:
            yield "Verdict", "; ".join(_verdict(cell))
        if others:
            words = ["bench", "compare", label_of(ours[0]), label_of(others[0]), "--profile", ours[0].profile]
            yield "With intervals by images", shlex.join(words)
    if cell.precision:
        yield "Computed in", cell.precision
    if cell.other_code:
        yield f"{MARK} Other code than that of now", cell.other_code
    if cell.interventions:
        yield f"{INTERVENED} Done by itself", cell.interventions


def _verdict(cell: Cell) -> Iterator[str]:
    verdict = cell.verdict
    if verdict is None:
        return
    yield WORDS[verdict.word]
    if verdict.p is None:
        yield "a side has a single value, or neither has any spread"
    else:
        yield f"p = {verdict.p:.2g}" if verdict.p > 0 else "p < 1e-300"
        if verdict.adjusted is not None:
            yield f"p = {verdict.adjusted:.2g} after Holm's correction over the rows of its column"
        if verdict.about == "weights":
            yield "about the weights of a single trunk, and not about the method that gave them"
