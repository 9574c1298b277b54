"""The command that writes one HTML page of all results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli_options import App

if TYPE_CHECKING:
    from bench.record import Record
    from bench.results.report.shown import Behind, Figure

app = App()


@app.command("report")
def report_command(
    results_dir: Annotated[
        Path, typer.Option("--results-dir", envvar="BENCH_RESULTS_DIR", help="Where records are.", metavar="DIR")
    ] = Path("results"),
    work_dir: Annotated[
        list[Path],
        typer.Option(
            "--work-dir",
            envvar="BENCH_WORK_DIR",
            help="Where stages keep logs and pictures.",
            metavar="DIR [DIR …]",
            show_default="runs",
        ),
    ] = [],  # noqa: B006
    to: Annotated[Path, typer.Option("--to", help="The file to write.", metavar="FILE")] = Path("report.html"),
    title: Annotated[
        str, typer.Option("--title", help="What stands above the page.", metavar="WORDS")
    ] = "What transfers best",
) -> None:
    """Write one HTML page of all results: tables, verdicts, figures, pictures, and what stands behind each number."""
    from bench.errors import BadInput
    from bench.results.plots import Sources, drawn
    from bench.results.plots.reading import RUNS
    from bench.results.report.gathering import gathered
    from bench.results.report.page import write_page

    if to.is_dir():
        raise BadInput(f"{to} is a folder; give --to the name of a file, such as {to / 'report.html'}.")
    if missing := [folder for folder in work_dir if not folder.is_dir()]:
        raise BadInput(f"There is no folder {missing[0]}; give --work-dir the folder that bench run was given.")

    work_dirs = work_dir or [folder for folder in [RUNS] if folder.is_dir()]

    def figures(files: Sequence[tuple[Path, Record]]) -> Sequence[Figure]:
        return drawn(Sources(records=list(files), work_dirs=work_dirs))

    words = title.encode("utf-8", "replace").decode()  # of a shell with another encoding
    report = gathered(results_dir, work_dirs, _behind, figures, words)
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
