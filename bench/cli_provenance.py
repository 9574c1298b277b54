"""Commands about where a number comes from, and whether it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench import cli_completion
from bench.cli_options import App, DataRoot, RecordsDir, WorkDir
from bench.errors import StageFailed

app = App()

RecordName = Annotated[
    str,
    typer.Argument(
        help="A record: its file, its name, or how its fingerprint begins.",
        metavar="RECORD",
        autocompletion=cli_completion.records,
    ),
]


@app.command("trace")
def trace_command(
    name: RecordName,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    safe: Annotated[
        bool,
        typer.Option("--safe/--no-safe", help="Read the configs that the record names as plain data, and run nothing."),
    ] = True,
    results_dir: RecordsDir = Path("results"),
) -> None:
    """Say what a number was made of, from the first pretraining on, and the command that makes its row anew."""
    from bench.execute.trace import content, find_record, lines

    file, record = find_record(name, results_dir)
    if as_json:
        print(json.dumps(content(file, record, safe), indent=1))
        return
    print("\n".join(lines(file, record, safe)))


@app.command("verify")
def verify_command(
    name: RecordName,
    data_root: DataRoot = [],  # noqa: B006
    work_dir: WorkDir = Path("runs"),
    results_dir: RecordsDir = Path("results"),
) -> None:
    """Evaluate the stored weights of a record again, and say whether its number stands; exit code 1 if not."""
    from bench.execute.trace import find_record
    from bench.execute.verify import verify

    file, record = find_record(name, results_dir)
    verdict = verify(record, work_dir, data_root)
    print("\n".join(verdict.lines), flush=True)
    if not verdict.stands:
        raise StageFailed(f"{file.name} does not stand; bench trace says what it was made of.")
