"""Records and published rows -> sections -> text; the tables folder, written and checked.

Sections go by profile. Results on the data sets of a study's table stand in sections of that table, all others in the
transfer table. Within a section, protocols never mix: see `columns`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.config_files import config_files
from bench.config.studies import Table, reference_folder, tables_of
from bench.config.tasks import metrics_of
from bench.errors import BadInput, nearest, writing_to
from bench.files import write_text
from bench.record import Record, read_all
from bench.results.as_now import as_now
from bench.results.formats import RESOURCES, SUFFIXES, TRANSFER, Heading, render
from bench.results.frame import without_repeats
from bench.results.gap import build_gap
from bench.results.named_rows import label_of
from bench.results.notes import section_notes
from bench.results.published import read_published
from bench.results.resources import build_resources
from bench.results.rows import build_rows
from bench.results.sections import TITLES, Section
from bench.results.trunks import Trunks

TRANSFER_TABLE = ""  # stands for its name
TITLE_ENDS = {"full": "", "mini": ", profile mini", "smoke": ", profile smoke (rendered scenes; no evidence)"}


def build_tables(
    records: Sequence[Record], reference: Path, baseline: str | None = None, trunks: Trunks | None = None
) -> list[Section]:
    """Return the sections with rows: transfer `full` (with published ones), `mini`, `smoke`, then those of studies.

    `reference` is the folder of published rows. In the transfer table differences are to the row `baseline` (a
    pretraining's name, or `name @hash` where several recipes share a name), by default to `random_init`. Raises
    BadInput when no section has the baseline, or it is ambiguous. `trunks` are those of all records that there are, by
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
    sections, known = [], set()
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
            sections.append(rows.section(title, key, rows.in_order(), section_notes(chosen, rows, repeats)))
            sections += [
                gap for source, some in shown.items() if (gap := build_gap(rows, source, tables[source], some))
            ]
            if name == TRANSFER_TABLE:
                known |= {word for line in rows.measured for word in (line.row.name, line.row.label)}
    if baseline is not None and baseline not in known:
        if any(baseline in {record.pretrain, label_of(record)} for record in records):
            raise BadInput(
                f"{baseline!r} stands in tables of small images alone, where differences are to the row that the study "
                "file names; leave --baseline out, or compare two rows with bench compare."
            )
        raise BadInput(f"No measured row {baseline!r} to take as baseline{nearest(baseline, known) or '.'}")
    return sections


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


@dataclass(frozen=True)
class Page:
    """What the files `<stem>.md`, `<stem>.csv`, … of the tables folder show."""

    stem: str
    heading: Heading
    sections: Sequence[Section]

    def text(self, format: str) -> str:
        """Return it as `markdown`, `csv`, `latex` or `html`."""
        return render(self.sections, format, self.heading)


def pages_of(results_dir: Path, baseline: str | None = None) -> tuple[Page, Page]:
    """The pages of a folder: `transfer` (how good) and `resources` (at what cost).

    Where the published rows are the shipped ones, they are shown only if something was measured in profile full.
    """
    records = as_now(read_all(results_dir / "records"))
    reference = reference_folder(results_dir)
    if reference.parent != results_dir and all(record.profile != "full" for record in records):
        reference = results_dir / "reference"
    transfer = Page("transfer", TRANSFER, build_tables(records, reference, baseline))
    return transfer, Page("resources", RESOURCES, build_resources(records))


def study_sections(results_dir: Path) -> str:
    """Return the sections of studies' tables that hold measured rows as Markdown, or "" where there are none."""
    transfer, _ = pages_of(results_dir)
    texts = []
    for name, table in tables_of(reference_folder(results_dir)).items():
        keys = {name, *(f"{name}_{end}" for end in ("mini", "smoke", "gap"))} if table.datasets else set()
        sections = [section for section in transfer.sections if section.key in keys]
        if any(not row.published for section in sections for row in section.rows):
            heading = Heading(f"Results on {table.title[0].lower()}{table.title[1:]}", TRANSFER.legend)
            texts.append(render(sections, "markdown", heading))
    return "\n".join(texts)


def write_tables(results_dir: Path, pages: Sequence[Page] | None = None) -> list[Path]:
    """Write `tables/{transfer,resources}.{md,csv,tex,html}` of a results folder, each whole or not at all.

    `pages` are those of this folder, if the caller has them already. Returns the files. Raises BadInput when a record
    is broken or the folder cannot be written.
    """
    folder = results_dir / "tables"
    texts = _files(results_dir, pages_of(results_dir) if pages is None else pages)
    with writing_to(folder, "--results-dir"):
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            write_text(file, text)
    return list(texts)


def check_tables(results_dir: Path) -> list[str]:
    """Return one sentence per table file that is missing or differs from what the records give ([]: all agree)."""
    differences = []
    for file, wanted in _files(results_dir, pages_of(results_dir)).items():
        if not file.is_file():
            differences.append(f"{file} is missing")
        elif (text := file.read_bytes().decode("utf-8", "replace")) != wanted:
            differences.append(f"{file} differs: {_first_change(text, wanted)}")
    return differences


def _files(results_dir: Path, pages: Sequence[Page]) -> dict[Path, str]:
    """{file: text} of a results folder."""
    return {
        results_dir / "tables" / f"{page.stem}.{suffix}": page.text(format)
        for page in pages
        for format, suffix in SUFFIXES.items()
    }


def _first_change(text: str, wanted: str) -> str:
    """The first line that differs, said shortly."""
    old, new = text.splitlines(), wanted.splitlines()
    for number, (line, other) in enumerate(zip(old, new, strict=False), 1):
        if line != other:
            same = next((i for i, (a, b) in enumerate(zip(line, other, strict=False)) if a != b), len(other))
            start = max(0, same - 20)
            return f"line {number} has {line[start : start + 60]!r}, the records give {other[start : start + 60]!r}"
    return f"it has {len(old)} lines, the records give {len(new)}" if len(old) != len(new) else "line ends differ"
