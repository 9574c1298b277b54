"""Records of a results folder -> what a page shows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.config.studies import reference_folder
from bench.errors import BadInput
from bench.record import Record, read_all
from bench.results.as_now import as_now
from bench.results.report.evidence import Settings, evidence_of, settings_key, settings_of
from bench.results.report.pictures import read_panels
from bench.results.report.shown import Behind, Evidence, Figure, Report, ShownTable
from bench.results.report.shown_tables import costs_of_archs, tables_of_archs
from bench.results.trunks import Trunks

MOST_TEXT = 1_500_000  # bytes of records as they are, over all records of a page
MOST_RECORDS = 1000  # of which a page says all that stands behind them
TITLE = "What transfers best"
DIAGNOSTICS = "diagnostics"  # a kind of task


def gathered(
    results_dir: Path,
    work_dirs: Sequence[Path],
    behind: Callable[[Record], Behind],
    figures: Callable[[Sequence[tuple[Path, Record]]], Sequence[Figure]] = lambda _: (),
    title: str = TITLE,
) -> Report:
    """Return what a page shows of a results folder, with the pictures of work folders.

    Args:
        results_dir: holds `records`, and maybe `reference` with published rows.
        work_dirs: may hold `pictures`.
        behind: works out from a record how to make it anew.
        figures: draws the figures of (file, record).
        title: of the page.

    Raises BadInput where there are no records, or something that is read is broken.
    """
    folder = results_dir / "records"
    kept = read_all(folder)
    if not kept:
        raise BadInput(
            f"There are no records in {folder} to report on; bench run with --downstream makes them, or give another "
            "--results-dir."
        )
    records, trunks = as_now(kept), Trunks(kept)
    reference = reference_folder(results_dir)
    transfer = [record for record in records if record.kind != DIAGNOSTICS]
    measures = [record for record in records if record.kind == DIAGNOSTICS]
    results = tables_of_archs(transfer, reference, trunks, "results")
    diagnostics = tables_of_archs(measures, reference, trunks, "diagnostics")
    evidence, left_out = _evidence(kept, folder, behind)
    panels, no_room = read_panels(work_dirs)
    return Report(
        title=title,
        newest=max(record.created for record in kept),
        counts=tuple(_counts(records, [*results, *diagnostics])),
        results=tuple(results),
        diagnostics=tuple(diagnostics),
        costs=tuple(costs_of_archs(records)),
        evidence=tuple(evidence),
        settings=_settings(kept[:MOST_RECORDS]),
        figures=tuple(figures([(folder / record.file_name, record) for record in kept])),
        panels=tuple(panels),
        left_out=(*left_out, *no_room),
        filters=_filters([*results, *diagnostics]),
    )


def _evidence(
    records: Sequence[Record], folder: Path, behind: Callable[[Record], Behind]
) -> tuple[list[Evidence], list[str]]:
    """What stands behind each record, and what is left out."""
    evidence, left_out, room, texts_missing = [], [], MOST_TEXT, 0
    for record in records[:MOST_RECORDS]:
        text: str | None = (folder / record.file_name).read_text(encoding="utf-8")
        size = len(text.encode()) if text is not None else 0
        if size > room:
            text, texts_missing = None, texts_missing + 1
        else:
            room -= size
        evidence.append(evidence_of(record, text, behind))
    if texts_missing:
        left_out.append(
            f"{texts_missing} records as they are: a page holds {MOST_TEXT / 1e6:.1f} MB of them; what is said of each "
            "is here, and its file is in the results folder."
        )
    if len(records) > MOST_RECORDS:
        left_out.append(
            f"What stands behind {len(records) - MOST_RECORDS} records: a page says it of {MOST_RECORDS}; bench trace "
            "says it of any."
        )
    return evidence, left_out


def _settings(records: Sequence[Record]) -> dict[str, Settings]:
    found: dict[str, Settings] = {}
    for record in records:
        if (key := settings_key(record)) not in found:
            found[key] = settings_of(record)
    return found


def _counts(records: Sequence[Record], tables: Sequence[ShownTable]) -> Iterator[tuple[str, str]]:
    """(what, how many) in the order in which people ask."""
    yield "records", str(len(records))
    yield "pretrainings", str(len({(r.pretrain, r.fingerprints.recipe, r.profile) for r in records}))
    yield "architectures", str(len({record.arch for record in records}))
    yield "tasks", str(len({record.task for record in records}))
    seeds = [
        len({record.seed for record in records if (record.pretrain, record.fingerprints.recipe) == row})
        for row in {(record.pretrain, record.fingerprints.recipe) for record in records}
    ]
    few, many = min(seeds), max(seeds)
    yield "seeds a pretraining", str(few) if few == many else f"{few} to {many}"
    yield "published rows", str(sum(row.published for table in tables for row in table.rows))


def _filters(tables: Sequence[ShownTable]) -> dict[str, tuple[str, ...]]:
    """The values that tables may be filtered by."""
    cells = [cell for table in tables for row in table.rows for cell in row.cells if cell is not None]
    return {
        "arch": tuple(sorted({table.arch for table in tables})),
        "profile": tuple(each for each in ("full", "mini", "smoke") if each in {table.profile for table in tables}),
        "dataset": tuple(sorted({cell.dataset for cell in cells if cell.dataset})),
        "protocol": tuple(sorted({cell.protocol for cell in cells if cell.protocol})),
    }
