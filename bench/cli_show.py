"""Commands that show what there is: tables, configs, objectives, and this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench import cli_completion
from bench.cli_options import App, Assignments, DataRoot, ProfileOption
from bench.errors import BadInput, StageFailed

app = App()


@app.command("table")
def table_command(
    format: Annotated[
        Literal["markdown", "csv", "latex", "html"], typer.Option("--format", help="What to print.")
    ] = "markdown",
    check: Annotated[bool, typer.Option("--check", help="Only compare the committed tables with the records.")] = False,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="Row that differences are taken to.", autocompletion=cli_completion.rows),
    ] = None,
    resources: Annotated[
        bool, typer.Option("--resources", help="Print time and memory of each stage instead.")
    ] = False,
    results_dir: Annotated[Path, typer.Option("--results-dir", envvar="BENCH_RESULTS_DIR")] = Path("results"),
) -> None:
    """Regenerate the tables from the records, and print those of transfer, or what it cost."""
    from bench.results.tables import check_tables, pages_of, write_tables

    if resources and baseline is not None:
        raise BadInput(
            "--baseline compares results of transfer, and --resources prints time and memory; give one of the two."
        )
    if check:
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
    transfer, costs = pages_of(results_dir, baseline)
    print((costs if resources else transfer).text(format))
    if baseline is None:
        write_tables(results_dir, [transfer, costs])


@app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List pretrainings, downstream tasks and objectives."""
    from bench.execute.inventory import inventory

    listed = inventory()
    if as_json:
        print(json.dumps(listed, indent=1))
        return
    for title, entries in listed.items():
        print(title)
        width = max(map(len, entries), default=0)
        for name, summary in entries.items():
            print(f"  {name:<{width}}  {summary}")


@app.command("show", safe=True)
def show_command(
    name: Annotated[
        str,
        typer.Argument(
            help="A config, by name or path, or an objective. One in Python is run when it is read, unless --safe.",
            metavar="NAME",
            autocompletion=cli_completion.shown,
        ),
    ],
    profile: ProfileOption = "full",
    assignments: Assignments = [],  # noqa: B006
) -> None:
    """Show a config as it is after inheritance, profile and --set; or an objective's settings."""
    from bench.execute.inventory import described, resolved

    if (lines := described(name)) is not None:
        if assignments or profile != "full":
            raise BadInput(f"{name} is an objective; --set and --profile are for configs (bench list shows them).")
        print("\n".join(lines))
        return
    docstring, values = resolved(name, profile, assignments)
    print(docstring + "\n")
    print(json.dumps(values, indent=1))


@app.command("doctor")
def doctor_command(
    data_root: DataRoot = [],  # noqa: B006
) -> None:
    """Say what this machine has: versions, devices, data, and how to get what is missing."""
    from bench.execute.doctor import diagnose

    problems = diagnose(data_root)
    if problems:
        raise StageFailed(f"{problems} of the things above are missing.")
