"""`bench table`: the tables of a results folder, all of them or what is chosen, in the format that is asked for."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench import cli_completion
from bench.cli_options import App, RecordsDir
from bench.errors import BadInput, StageFailed, writing_to
from bench.printable import is_drawn_on, screen_width

if TYPE_CHECKING:
    from bench.results.look import Look

app = App()

Format = Literal["terminal", "markdown", "latex", "html", "csv", "csv-wide", "csv-long", "json"]
FOR_READING = ("terminal", "latex")  # formats whose cells are short without --verdicts


@app.command("table")
def table_command(
    context: typer.Context,
    format: Annotated[
        Format | None,
        typer.Option("--format", help="What to print.", show_default="terminal on a terminal, else markdown"),
    ] = None,
    rows: Annotated[
        list[str],
        typer.Option(
            "--rows",
            help="Only these, in this order: names or patterns.",
            metavar="A [B …]",
            autocompletion=cli_completion.rows,
        ),
    ] = [],  # noqa: B006
    columns: Annotated[
        list[str],
        typer.Option(
            "--columns",
            help="Only these, in this order: tasks, metrics or headers; names or patterns.",
            metavar="X [Y …]",
        ),
    ] = [],  # noqa: B006
    arch: Annotated[list[str], typer.Option("--arch", help="Only rows of these.", metavar="NAME [NAME …]")] = [],  # noqa: B006
    profile: Annotated[
        list[str], typer.Option("--profile", help="Only full, mini or smoke.", metavar="NAME [NAME …]")
    ] = [],  # noqa: B006
    empty: Annotated[bool, typer.Option("--empty", help="Keep chosen rows and columns without a value.")] = False,
    verdicts: Annotated[
        bool | None,
        typer.Option(
            "--verdicts/--no-verdicts",
            help="Cells with differences, verdicts, numbers of runs and marks.",
            show_default="not in terminal and latex",
        ),
    ] = None,
    caption: Annotated[str, typer.Option("--caption", help="Of LaTeX.", show_default="the section's title")] = "",
    label: Annotated[str, typer.Option("--label", help="Of LaTeX.", show_default="tab:SECTION")] = "",
    to: Annotated[Path | None, typer.Option("--to", help="Write to this file instead.", metavar="FILE")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only compare the committed tables with the records.")] = False,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="Row that differences are taken to.", autocompletion=cli_completion.rows),
    ] = None,
    resources: Annotated[
        bool, typer.Option("--resources", help="Print time and memory of each stage instead.")
    ] = False,
    results_dir: RecordsDir = Path("results"),
) -> None:
    """Print the tables of transfer, or what it cost; without a choice the tables folder is written anew, too."""
    from bench.results.long_csv import long_csv
    from bench.results.selection import Selection, selected_parts
    from bench.results.tables import check_tables, page_of, parts_of, records_of, resources_page, write_tables

    chosen = Selection(tuple(rows), tuple(columns), tuple(arch), tuple(profile), empty)
    format = format or ("terminal" if is_drawn_on(sys.stdout) and to is None else "markdown")
    _check_options(format, resources, baseline, caption, label)
    if check:
        if not chosen.is_all:
            raise BadInput("--check compares whole tables; leave --rows, --columns, --arch and --profile out.")
        differences = check_tables(results_dir)
        for difference in differences:
            print(difference)
        if differences:
            raise StageFailed(f"{len(differences)} tables differ from what the records give; run bench table.")
        print("tables agree with the records")
        return
    if not any((results_dir / "records").glob("*.json")):
        print(f"There are no records in {results_dir / 'records'} yet; bench run with --downstream makes them.")
        return
    records = records_of(results_dir)
    parts = parts_of(results_dir, records, baseline)
    look = _look(format, verdicts, caption, label, context.obj)
    if resources:
        text = resources_page(records, chosen).text(format, look)
    elif format == "csv-long":
        text = long_csv(selected_parts(parts, chosen), all_metrics=not columns)
    else:
        text = page_of(selected_parts(parts, chosen), chosen).text(format, look)
    if to is not None:
        _write(to, text)
        return
    sys.stdout.write(text)
    if baseline is None and chosen.is_all:
        write_tables(results_dir, [page_of(parts), resources_page(records)])


def _look(format: str, verdicts: bool | None, caption: str, label: str, arguments: list[str] | None) -> Look:
    from bench.checkout import git
    from bench.results.look import ORIGIN, Look

    made_by = ORIGIN
    if format == "latex":
        command = shlex.join(["bench", *(arguments or ["table"])])
        made_by = f"Made from the records by {command}, by the code of {git().words}; never edited."
    short = format in FOR_READING if verdicts is None else not verdicts
    width = screen_width()
    return Look(not short, width, is_drawn_on(sys.stdout), caption, label, made_by)


def _check_options(format: str, resources: bool, baseline: str | None, caption: str, label: str) -> None:
    if resources and baseline is not None:
        raise BadInput(
            "--baseline compares results of transfer, and --resources prints time and memory; give one of the two."
        )
    if resources and format == "csv-long":
        raise BadInput("csv-long has the metrics of records, and no time and memory; take --format csv-wide.")
    if (caption or label) and format != "latex":
        raise BadInput(f"--caption and --label are for --format latex, not {format}; leave them out.")


def _write(file: Path, text: str) -> None:
    from bench.files import write_text

    with writing_to(file.parent, "--to"):
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise BadInput(f"{file} is a folder; give --to a file in it.")
        write_text(file, text)
