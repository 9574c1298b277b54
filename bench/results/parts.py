"""Records and published rows -> the parts of the transfer page, each of which gives one section or two.

Parts go by profile. Results on the data sets of a study's table stand in parts of that table, all others in the
transfer table. Within a part, protocols never mix: see `columns`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.config_files import config_files
from bench.config.studies import Table, tables_of
from bench.config.tasks import metrics_of
from bench.errors import BadInput, nearest
from bench.record import Record
from bench.results.frame import without_repeats
from bench.results.gap import build_gap
from bench.results.named_rows import label_of
from bench.results.notes import section_notes
from bench.results.published import PublishedRow, read_published
from bench.results.rows import Rows, build_rows
from bench.results.sections import TITLES, Section
from bench.results.trunks import Trunks

TRANSFER_TABLE = ""  # stands for its name
TITLE_ENDS = {"full": "", "mini": ", profile mini", "smoke": ", profile smoke (rendered scenes; no evidence)"}


@dataclass(frozen=True)
class Part:
    """The rows of one table in one profile, with what they come from.

    `records` are those that count; `repeats` older ones were left out. `published` are {table's name: (table, rows)}.
    """

    title: str
    key: str  # of its section
    profile: str
    rows: Rows
    records: Sequence[Record]
    repeats: int
    published: dict[str, tuple[Table, list[PublishedRow]]]

    def sections(self) -> list[Section]:
        """Return the section of the rows, and those with measured less published numbers."""
        notes = section_notes(self.records, self.rows, self.repeats)
        gaps = (build_gap(self.rows, name, table, some) for name, (table, some) in self.published.items())
        return [
            self.rows.section(self.title, self.key, self.rows.in_order(), notes, self.profile),
            *(gap for gap in gaps if gap is not None),
        ]


def build_parts(
    records: Sequence[Record], reference: Path, baseline: str | None = None, trunks: Trunks | None = None
) -> list[Part]:
    """Return the parts with rows: transfer `full` (with published ones), `mini`, `smoke`, then those of studies.

    `reference` is the folder of published rows. In the transfer table differences are to the row `baseline` (a
    pretraining's name, or `name @hash` where several recipes share a name), by default to `random_init`. Raises
    BadInput when no part has the baseline, or it is ambiguous. `trunks` are those of all records that there are, by
    default of these.
    """
    trunks = trunks or Trunks(records)
    counted = without_repeats(records, trunks)
    tables = tables_of(reference)
    for name, table in tables.items():
        _check_columns(name, table, records)
    published = {name: read_published(table, reference) for name, table in tables.items()}
    belongs = {id(record): _table_of(record, tables) for record in records}
    joined = [name for name, table in tables.items() if not table.datasets]  # to the transfer table
    parts: list[Part] = []
    known: set[str] = set()
    for name in [TRANSFER_TABLE, *(name for name, table in tables.items() if table.datasets)]:
        for profile in TITLES:
            chosen = [record for record in counted if record.profile == profile and belongs[id(record)] == name]
            sources = joined if name == TRANSFER_TABLE else [name]
            shown = {source: published[source] for source in sources if published[source] and profile == "full"}
            if not chosen and not shown:
                continue
            if name == TRANSFER_TABLE:
                table = _transfer_table({source: tables[source] for source in joined}, shown)
                key, title = profile, TITLES[profile]
                repeats = sum(r.profile == profile and belongs[id(r)] == name for r in records) - len(chosen)
            else:
                table, repeats = tables[name], 0
                key = name if profile == "full" else f"{name}_{profile}"
                title = table.title + TITLE_ENDS[profile] + ("" if chosen else " (published)")
            rows = build_rows(table, chosen, [row for some in shown.values() for row in some], baseline, trunks)
            beside = {source: (tables[source], some) for source, some in shown.items()}
            parts.append(Part(title, key, profile, rows, chosen, repeats, beside))
            if name == TRANSFER_TABLE:
                known |= {word for line in rows.measured for word in (line.row.name, line.row.label)}
    if baseline is not None and baseline not in known:
        if any(baseline in {record.pretrain, label_of(record)} for record in records):
            raise BadInput(
                f"{baseline!r} stands in tables of small images alone, where differences are to the row that the study "
                "file names; leave --baseline out, or compare two rows with bench compare."
            )
        raise BadInput(f"No measured row {baseline!r} to take as baseline{nearest(baseline, known) or '.'}")
    return parts


def _check_columns(name: str, table: Table, records: Sequence[Record]) -> None:
    """Raise BadInput for a column whose task or metric is a slip of the pen: unknown, and all but a known one.

    What is like nothing that is known may be of a task from outside that was not measured yet.
    """
    tasks = {*config_files("downstream_configs"), *(record.task for record in records)}
    for column in table.columns:
        named = [column.task.replace("{dataset}", dataset) for dataset in table.datasets] or [column.task]
        if column.task and not tasks.intersection(named) and (meant := _meant(named[0], tasks)):
            raise BadInput(f"The study's table {name} names the unknown task {column.task!r}; did you mean {meant}?")
        of_task = [record for record in records if record.task in named]
        metrics = {metric for record in of_task for metric in (*record.metrics, *metrics_of(record.kind))}
        if column.metric not in metrics and (meant := _meant(column.metric, metrics)):
            raise BadInput(
                f"The study's table {name} names the metric {column.metric!r}, which {column.task} does not have; did "
                f"you mean {meant}?"
            )


def _meant(word: str, known: Iterable[str]) -> str | None:
    """The known word that only a slip makes into `word`; another number in it, or a part more, is meant so."""
    for close in difflib.get_close_matches(word, sorted(known), cutoff=0.9):
        if abs(len(close) - len(word)) < 2 and re.sub(r"\d", "", close) != re.sub(r"\d", "", word):
            return close
    return None


def _table_of(record: Record, tables: dict[str, Table]) -> str:
    """The name of the table that a record stands in: of a study where one has its data set, else the transfer table."""
    holding = [
        name
        for name, table in tables.items()
        if record.dataset in table.datasets
        and (not table.kinds or record.kind in table.kinds)
        and (not table.archs or record.arch in table.archs)
    ]
    return max(holding, key=lambda name: bool(tables[name].archs), default=TRANSFER_TABLE)


def _transfer_table(joined: dict[str, Table], shown: Container[str]) -> Table:
    """The columns of all tables without data sets, and the notes of those whose rows are shown."""
    columns = {column.key: column for table in reversed(joined.values()) for column in reversed(table.columns)}
    notes = tuple(note for name, table in joined.items() if name in shown for note in table.published_notes)
    return Table.model_construct(rows=(), columns=tuple(reversed(columns.values())), published_notes=notes)
