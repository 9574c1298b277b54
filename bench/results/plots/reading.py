"""Folders of a command line -> what figures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import BadInput, nearest
from bench.record import read_all
from bench.results.plots.sources import Sources

RUNS = Path("runs")  # what bench run calls its work folder, unless it is told otherwise


def read_sources(results_dir: Path, work_dirs: Sequence[Path], rows: Sequence[str] = ()) -> Sources:
    """Return the records of a results folder and the pretrainings of work folders, of `rows` alone if any are given.

    Without `work_dirs` it is `runs`, if that is there. Raises BadInput for a folder that is given and not there, a
    damaged record, or a row that neither a record nor a pretraining has.
    """
    for folder in work_dirs:
        if not folder.is_dir():
            raise BadInput(f"There is no work folder {folder}; give the --work-dir that bench run had.")
    records = results_dir / "records"
    sources = Sources(
        [(records / record.file_name, record) for record in read_all(records)],
        list(work_dirs) or [folder for folder in [RUNS] if folder.is_dir()],
    )
    if not rows:
        return sources
    known = sources.row_words
    for word in rows:
        if word not in known:
            remedy = nearest(word, sorted(known)) or "; bench table shows all."
            raise BadInput(f"Neither a record nor a log is of the row {word!r}{remedy}")
    return sources.of_rows(rows)
