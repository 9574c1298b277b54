"""The command that writes one HTML page of all results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import App, RecordsDir, WorkDirs
from bench.errors import BadInput

if TYPE_CHECKING:
    from bench.record import Record
    from bench.results.plots import Drawn
    from bench.results.report.shown import Behind

app = App()


@app.command("report")
def report_command(
    results_dir: RecordsDir = Path("results"),
    work_dir: WorkDirs = [],  # noqa: B006
    to: Annotated[Path, typer.Option("--to", help="The file to write.", metavar="FILE")] = Path("report.html"),
    title: Annotated[
        str, typer.Option("--title", help="What stands above the page.", metavar="WORDS")
    ] = "What transfers best",
) -> None:
    """Write one HTML page of all results: tables, verdicts, figures, pictures, and what stands behind each number."""
    from bench.results.plots import Sources, drawn
    from bench.results.plots.reading import work_folders
    from bench.results.report.gathering import gathered
    from bench.results.report.page import write_page

    if to.is_dir():
        raise BadInput(f"{to} is a folder; give --to the name of a file, such as {to / 'report.html'}.")
    folders = work_folders(work_dir)

    def figures(files: Sequence[tuple[Path, Record]]) -> Sequence[Drawn]:
        return drawn(Sources(records=list(files), work_dirs=folders))

    words = title.encode("utf-8", "replace").decode()  # of a shell with another encoding
    report = gathered(results_dir, folders, _behind, figures, words)
    size = write_page(report, to)
    tables = len([*report.results, *report.diagnostics])
    print(f"{to}: {tables} table{'s' if tables > 1 else ''} from {report.counts[0][1]} records, {size / 1e6:.1f} MB")
    for words in report.left_out:
        print(f"left out: {words}")


def _behind(record: Record) -> Behind:
    """The command that makes a record anew, and notes, as bench trace says them."""
    from bench.execute.anew import anew
    from bench.execute.trace import notes
    from bench.results.report.shown import Behind

    found = anew(record)
    return Behind(found.command, found.note, tuple(notes(record)))
